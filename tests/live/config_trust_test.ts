/**
 * Configurations that other users can change: `rcap check` reports them, `rcap run`
 * does not start with them, and a running daemon keeps its configuration.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import "../../ffi/testing.ts";
import { cap, Place, QUICKLY, TestDaemon } from "../support/daemon.ts";
import { requireRoot } from "../support/live.ts";
import { rcap, type Run } from "../support/rcap.ts";
import { until } from "../support/workload.ts";

requireRoot();

const NOBODY = 65534;
/** A uid that is neither root's nor this test's. */
const GROUP = 4711;
/** A cap that is never exceeded. */
const HARMLESS = cap("one", ["comm:rcap-nobody"], "1G");
const OTHER = cap("two", ["comm:rcap-nobody"], "2G");

/** Runs rcap; kills a run that does not end, which then exits with 137. */
function bounded(args: string[], uid?: number): Promise<Run> {
  return rcap(args, { uid, prefix: ["timeout", "-s", "KILL", "30"] });
}

function run(program: string, ...args: string[]): void {
  const { success, stderr } = new Deno.Command(program, { args }).outputSync();
  assert(success, `${program}: ${new TextDecoder().decode(stderr)}`);
}

/** A way in which other users can change a configuration, and the message about it. */
interface Case {
  name: string;
  change: (place: Place) => void;
  message: RegExp;
}

const CASES: Case[] = [
  {
    name: "the file belongs to another user",
    change: ({ config }) => Deno.chownSync(config, NOBODY, 0),
    message:
      /rcap\.toml: it belongs to uid 65534; chown root \S+\/rcap\.toml$/m,
  },
  {
    name: "others can write to the file",
    change: ({ config }) => Deno.chmodSync(config, 0o646),
    message: /rcap\.toml: it has mode 646, .*; chmod o-w \S+\/rcap\.toml$/m,
  },
  {
    name: "a group can write to the file",
    change: ({ config }) => {
      Deno.chownSync(config, 0, GROUP);
      Deno.chmodSync(config, 0o664);
    },
    message: /rcap\.toml: it has mode 664, .*group 4711.*; chmod g-w /,
  },
  {
    name: "others can write to the directory",
    change: ({ folder }) => Deno.chmodSync(folder, 0o777),
    message: /since the directory \S+ has mode 777, .*; chmod o-w /,
  },
  {
    name: "the directory belongs to another user",
    change: ({ folder }) => Deno.chownSync(folder, NOBODY, NOBODY),
    message: /since the directory \S+ belongs to uid 65534; chown root /,
  },
  {
    name: "the file is a link that another user has made",
    change: ({ folder, config }) => {
      Deno.renameSync(config, `${folder}/real`);
      Deno.symlinkSync("real", config);
      run("chown", "-h", `${NOBODY}`, config);
    },
    message: /rcap\.toml: it belongs to uid 65534; chown -h root /,
  },
  {
    name: "a link leads through a directory that others can write to",
    change: ({ folder, config }) => {
      Deno.mkdirSync(`${folder}/open`);
      Deno.chmodSync(`${folder}/open`, 0o777);
      Deno.renameSync(config, `${folder}/open/real`);
      Deno.symlinkSync("open/real", config);
    },
    message: /since the directory \S+\/open has mode 777, .*; chmod o-w /,
  },
  {
    name: "a drop-in belongs to another user",
    change: ({ dropIns }) => {
      Deno.mkdirSync(dropIns);
      Deno.writeTextFileSync(`${dropIns}/a.toml`, OTHER);
      Deno.chownSync(`${dropIns}/a.toml`, NOBODY, 0);
    },
    message: /rcap\.d\/a\.toml: it belongs to uid 65534; chown root /,
  },
  {
    name: "the directory of drop-ins belongs to another user and is empty",
    change: ({ dropIns }) => {
      Deno.mkdirSync(dropIns);
      Deno.chownSync(dropIns, NOBODY, 0);
    },
    message: /rcap\.d: it belongs to uid 65534; chown root /,
  },
  {
    name: "others can add drop-ins, but not change them",
    change: ({ dropIns }) => {
      Deno.mkdirSync(dropIns);
      Deno.chmodSync(dropIns, 0o1777);
    },
    message: /rcap\.d: it has mode 1777, .*; chmod o-w /,
  },
];

for (const { name, change, message } of CASES) {
  Deno.test(`${name}: check reports it, run refuses, and a reload keeps the old configuration`, async () => {
    using place = new Place();
    Deno.writeTextFileSync(place.config, QUICKLY + HARMLESS);
    const args = ["--config", place.config];
    // Its state directory is elsewhere and does not change.
    await using daemon = await TestDaemon.start({ config: "", args });
    change(place);
    // The daemon checks by itself, and on request.
    await until(
      () => daemon.state().configuration.problems.length > 0,
      "the problem to be found",
    );
    assertMatch(daemon.state().configuration.problems.join("\n"), message);
    assertEquals(daemon.state().groups.map(({ name }) => name), ["one"]);
    const reload = await bounded(["reload", ...daemon.place.stateArgs]);
    assertEquals(reload.code, 2, reload.stderr);
    assertMatch(reload.stderr, message);
    const check = await bounded(["check", ...args]);
    assertEquals([check.code, check.stdout], [2, ""], check.stderr);
    assertMatch(check.stderr, message);
    assertMatch(check.stderr, /has one problem/);
    for (const once of [[], ["--once"]]) {
      const { code, stderr } = await bounded(
        [
          "run",
          ...once,
          ...args,
          "--state-dir",
          `${daemon.place.folder}/other`,
        ],
      );
      assertEquals(code, 2, stderr);
      assertMatch(stderr, message);
    }
    const { code, stderr } = await daemon.stop();
    assertEquals(code, 0, stderr);
    assertMatch(
      stderr,
      /the configuration is invalid; the running one stays in force/,
    );
  });
}

Deno.test("files that only root and the user can change are read, also through links and in sticky directories", async () => {
  using place = new Place();
  const { folder } = place;
  Deno.mkdirSync(`${folder}/sticky`);
  Deno.chmodSync(`${folder}/sticky`, 0o1777);
  Deno.mkdirSync(`${folder}/real`);
  Deno.writeTextFileSync(`${folder}/real/rcap.toml`, HARMLESS);
  Deno.chmodSync(`${folder}/real/rcap.toml`, 0o664);
  Deno.symlinkSync(`${folder}/real/rcap.toml`, place.config);
  Deno.mkdirSync(`${folder}/real/drop-ins`);
  Deno.writeTextFileSync(`${folder}/real/two`, OTHER);
  Deno.symlinkSync("../two", `${folder}/real/drop-ins/a.toml`);
  Deno.symlinkSync("real/drop-ins", place.dropIns);
  Deno.writeTextFileSync(`${folder}/sticky/rcap.toml`, HARMLESS);
  Deno.writeTextFileSync(`${folder}/sticky/own.toml`, HARMLESS);
  Deno.chownSync(`${folder}/sticky/own.toml`, NOBODY, NOBODY);
  for (
    const [path, caps, uid] of [
      [place.config, 2, undefined],
      [place.config, 2, NOBODY],
      [`${folder}/sticky/rcap.toml`, 1, undefined],
      [`${folder}/sticky/own.toml`, 1, NOBODY],
    ] as const
  ) {
    const { code, stdout, stderr } = await bounded(
      ["check", "--config", path],
      uid,
    );
    assertEquals([code, stderr], [0, ""]);
    assertMatch(stdout, new RegExp(`with ${caps} cap`));
  }
});

Deno.test("a pipe swapped in for a file does not block the daemon", async () => {
  using place = new Place();
  Deno.mkdirSync(place.dropIns);
  const paths = [place.config, `${place.dropIns}/a.toml`];
  Deno.writeTextFileSync(paths[1], OTHER);
  await using daemon = await TestDaemon.start({
    place,
    config:
      QUICKLY.replace('config_interval = "500ms"', 'config_interval = "10ms"') +
      HARMLESS,
  });
  // A file and a pipe alternate as fast as possible while the daemon looks.
  const script = `
    use POSIX; my $end = time + 3; my $i = 0;
    while (time < $end) {
      for my $path (@ARGV) {
        POSIX::mkfifo("$path~", 0644); rename "$path~", $path;
        link "$path.keep", "$path~"; rename "$path~", $path;
      }
    }`;
  for (const path of paths) Deno.linkSync(path, `${path}.keep`);
  run("perl", "-e", script, ...paths);
  const before = daemon.state().updatedAt;
  await until(() => daemon.state().updatedAt > before, "it to go on");
  assertEquals((await daemon.stop()).code, 0);
});

Deno.test("standard input is read if it is a file, and reported otherwise", async () => {
  using place = new Place();
  Deno.writeTextFileSync(place.config, HARMLESS);
  const prefix = (redirection: string) => [
    "timeout",
    "-s",
    "KILL",
    "30",
    "bash",
    "-c",
    `exec "$@" ${redirection}`,
    "bash",
  ];
  for (const path of ["/dev/stdin", "/proc/self/fd/0"]) {
    const args = ["check", "--config", path];
    const file = await rcap(args, { prefix: prefix(`< ${place.config}`) });
    assertEquals([file.code, file.stderr], [0, ""]);
    const pipe = await rcap(args, { prefix: prefix("< <(echo)") });
    assertEquals(pipe.code, 2);
    assertMatch(pipe.stderr, /it is a device, a pipe or a socket/);
  }
});

Deno.test("a relative path is trusted if the working directory is", async () => {
  using place = new Place();
  Deno.writeTextFileSync(place.config, HARMLESS);
  const check = () =>
    rcap(["check", "--config", "rcap.toml"], {
      prefix: ["timeout", "-s", "KILL", "30", "env", "-C", place.folder],
    });
  assertEquals((await check()).code, 0);
  Deno.chmodSync(place.folder, 0o777);
  const { code, stderr } = await check();
  assertEquals(code, 2);
  assertMatch(stderr, new RegExp(`the directory ${place.folder} has mode 777`));
});

Deno.test("the number, size and names of drop-ins are limited", async () => {
  using place = new Place();
  Deno.writeTextFileSync(place.config, HARMLESS);
  Deno.mkdirSync(place.dropIns);
  const check = () => bounded(["check", "--config", place.config]);
  const odd = `${place.dropIns}/a\n\x1b[31m\u202e.toml`;
  Deno.writeTextFileSync(odd, OTHER);
  const named = await check();
  assertEquals(named.code, 0, named.stderr);
  assertEquals(named.stdout.includes("\x1b"), false);
  Deno.removeSync(odd);
  run(
    "perl",
    "-e",
    'open(F, ">", "$ARGV[0]/\\xff.toml") or die',
    place.dropIns,
  );
  assertMatch((await check()).stderr, /its name is not UTF-8; rename it/);
  run("perl", "-e", 'unlink "$ARGV[0]/\\xff.toml" or die', place.dropIns);
  for (let i = 0; i < 5; i++) {
    Deno.writeTextFileSync(`${place.dropIns}/${i}.toml`, "#\n".repeat(2 ** 19));
  }
  assertMatch(
    (await check()).stderr,
    /3\.toml: with the files before it, it is larger than 4M; /,
  );
  for (let i = 0; i <= 1000; i++) {
    Deno.writeTextFileSync(`${place.dropIns}/${i}.toml`, "");
  }
  assertMatch((await check()).stderr, /rcap\.d: it contains 1001 drop-ins/);
});
