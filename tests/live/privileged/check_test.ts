/**
 * Tests of `rcap check` on users' files: messages, places and exit codes.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { CheckReport } from "../../../lib/config/config_report.ts";
import { rcap, rcapJson, type RunOptions } from "../../support/rcap.ts";

/** A user that need not exist. */
const SOMEONE = 54_341;

const EXAMPLE =
  new URL("../../../docs/rcap.toml.example", import.meta.url).pathname;

const WEB = `[[cap]]
name = "web"
select = ["comm:nginx", "user:root"]
max_rss = "64M"
`;

/** A main file and drop-ins, readable by everyone; removed on disposal. */
function configuration(
  main: string,
  dropIns: Record<string, string> = {},
): Disposable & { file: string; dropIns: string } {
  const directory = Deno.makeTempDirSync({ prefix: "rcap-" });
  Deno.chmodSync(directory, 0o755);
  const paths = { file: `${directory}/my.toml`, dropIns: `${directory}/my.d` };
  Deno.writeTextFileSync(paths.file, main);
  for (const [name, text] of Object.entries(dropIns)) {
    Deno.mkdirSync(paths.dropIns, { recursive: true });
    Deno.writeTextFileSync(`${paths.dropIns}/${name}`, text);
  }
  return {
    ...paths,
    [Symbol.dispose]: () => Deno.removeSync(directory, { recursive: true }),
  };
}

function check(file: string, args: string[] = [], options?: RunOptions) {
  return rcap(["check", "--config", file, ...args], options);
}

Deno.test("a valid configuration is summarized as the number of caps by file", async () => {
  using files = configuration(WEB, {
    "b.toml": WEB.replaceAll("web", "b"),
    "a.toml": `[daemon]\nsample_interval = "1s"\n`,
    "not one": "what it likes",
  });
  for (const options of [{}, { uid: SOMEONE }]) {
    assertEquals(await check(files.file, [], options), {
      code: 0,
      stdout: `${files.file}: 1 cap
${files.dropIns}/a.toml: 0 caps
${files.dropIns}/b.toml: 1 cap
The configuration is valid, with 2 caps.
`,
      stderr: "",
    });
  }
});

Deno.test("all problems of all files are reported at once, on standard error", async () => {
  using files = configuration(
    `[daemon]
sample_interval = "0s"
[[cap]]
name = "web"
select = ["user:nobody-of-this-name"]
max_rs = "2G"
`,
    {
      "a.toml": WEB,
      "b.toml": "[[cap]]\nmax_rss = 2G\n",
    },
  );
  const { file, dropIns } = files;
  assertEquals(await check(file), {
    code: 2,
    stdout: "",
    stderr: `rcap: the configuration has 6 problems:
${file}:2: sample_interval: "0s" is out of range; it is at least 10ms and at most 24h
${file}:3: the cap has neither max_rss nor idle; add max_rss = "2G", idle = "10m", or both
${file}:5: selector "user:nobody-of-this-name": there is no user "nobody-of-this-name"; getent passwd lists the users
${file}:6: unknown key "max_rs" in [[cap]]; did you mean max_rss?
${dropIns}/a.toml:2: the name "web" is taken by the cap at ${file}:4; rename or remove one of them
${dropIns}/b.toml:2: malformed TOML (must be a newline): max_rss = 2G; put text in quotation marks: max_rss = "2G"
`,
  });
});

Deno.test("scripts get one object on standard output, valid or not", async () => {
  using files = configuration(`${WEB}foo = 1\n`);
  const args = ["check", "--config", files.file];
  const wrong = await rcapJson<CheckReport>(args);
  assertEquals(wrong, {
    code: 2,
    stderr: "",
    json: {
      version: 1,
      valid: false,
      files: [files.file],
      problems: [{
        file: files.file,
        line: 5,
        message: 'unknown key "foo" in [[cap]]',
        suggestion:
          "the keys are name, select, max_rss, idle, max_refaults, max_pressure, min_rss, max_pageout_rate, max_swap_writes, only, priority, secondary_mmu, reclaim",
      }],
      warnings: [],
      config: null,
    },
  });

  Deno.writeTextFileSync(files.file, WEB);
  for (const more of [[], ["--print"]]) {
    const { code, json, stderr } = await rcapJson<CheckReport>(
      [...args, ...more],
    );
    assertEquals([code, stderr, json.valid], [0, "", true]);
    assertEquals(json.config?.daemon.sampleInterval, 5);
    assertEquals(json.config?.caps, [{
      name: "web",
      select: ["comm:nginx", "user:root"],
      maxRss: 64 * 2 ** 20,
      place: `${files.file}:1`,
    }]);
  }
});

Deno.test("--print prints the same configuration in one file", async () => {
  using files = configuration(WEB, {
    "a.toml": `[daemon]
process_interval = "1.5s"
enforcement_threshold = "12.5%"
[[cap]]
name = "odd"
select = ['comm:a"b\\\\c*', "exe:/tmp/\\u007f\\u0085\\té"]
max_rss = 1_000_001
`,
  });
  const printed = await check(files.file, ["--print"]);
  assertEquals([printed.code, printed.stderr], [0, ""]);
  assertMatch(printed.stdout, /^# .*\/my\.d\/a\.toml:4\n\[\[cap\]\]$/m);
  using again = configuration(printed.stdout);
  const results = await Promise.all([files, again].map(async ({ file }) => {
    const args = ["check", "--config", file];
    const { code, json } = await rcapJson<CheckReport>(args);
    assertEquals(code, 0);
    const caps = json.config?.caps.map(({ place: _, ...cap }) => cap);
    return { ...json.config, caps };
  }));
  assertEquals(results[1], results[0]);
  assertEquals(results[0].caps?.length, 2);
});

Deno.test("unreadable files are reported", async () => {
  using files = configuration(WEB, { "a.toml": "" });
  Deno.chmodSync(`${files.dropIns}/a.toml`, 0o600);
  const remedy =
    "it cannot be read: Permission denied (EACCES); run as root, or make it readable";
  const options = { uid: SOMEONE };
  assertEquals(await check(files.file, [], options), {
    code: 2,
    stdout: "",
    stderr:
      `rcap: the configuration has one problem:\n${files.dropIns}/a.toml: ${remedy}\n`,
  });
  Deno.chmodSync(files.dropIns, 0o700);
  Deno.chmodSync(files.file, 0o600);
  assertEquals(await check(files.file, [], options), {
    code: 2,
    stdout: "",
    stderr:
      `rcap: the configuration has 2 problems:\n${files.file}: ${remedy}\n${files.dropIns}: ${remedy}\n`,
  });
  assertEquals((await check(files.file)).code, 0, "root may read all of it");
});

Deno.test("a pipe in the place of a file is reported without waiting for it", async () => {
  using files = configuration(WEB, { "a.toml": "" });
  const path = `${files.dropIns}/pipe.toml`;
  const { success } = await new Deno.Command("mkfifo", { args: [path] })
    .output();
  assertEquals(success, true);
  const { code, stderr } = await check(files.file);
  assertEquals(code, 2);
  assertMatch(stderr, /pipe\.toml: it is a device, a pipe or a socket/);
});

Deno.test("without any file, the message says how to write one", async () => {
  using files = configuration("");
  Deno.removeSync(files.file);
  const { code, stdout, stderr } = await check(files.file);
  assertEquals([code, stdout], [2, ""]);
  const [, line] = /it does not exist, .*, or write one, such as (.*)\n$/.exec(
    stderr,
  ) ?? [];
  assert(line, stderr);
  Deno.writeTextFileSync(files.file, line);
  assertEquals((await check(files.file)).code, 0);
  const empty = await check("");
  assertEquals(empty.code, 2);
  assertMatch(empty.stderr, /^rcap: --config: "" is not a file; /);
});

Deno.test("the examples in the documentation and in the help are valid", async () => {
  assertEquals((await check(EXAMPLE)).code, 0);
  const { stdout } = await rcap(["check", "--help"]);
  const [, example] = /^A configuration:\n((?: {2}.*\n|\n)*)/m.exec(stdout) ??
    [];
  using files = configuration(example.replaceAll(/^ {2}/gm, ""));
  assertEquals(
    (await check(files.file)).stdout.split("\n")[0],
    `${files.file}: 1 cap`,
  );
});

Deno.test("a probably unintended setting causes a warning, which a log level silences", async () => {
  using files = configuration(WEB.replace("64M", "1P"));
  const { code, stderr } = await check(files.file);
  assertEquals(code, 0);
  assertMatch(
    stderr,
    /^rcap: warning: .*\/my\.toml:4: cap "web" of 1\.0P is larger than the .* of memory of this machine; it can never be exceeded; lower it\n$/,
  );
  const quiet = await check(files.file, ["--log-level", "error"]);
  assertEquals([quiet.code, quiet.stderr], [0, ""]);
});
