/**
 * Tests of standard output and standard error: whatever the names of processes,
 * files and arguments, no control sequence reaches a terminal; and if a stream is
 * not read, commands still end and the daemon continues.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { CheckReport } from "../../lib/config/config_report.ts";
import type { InspectReport } from "../../lib/oneshot/inspect.ts";
import type { ScanReport } from "../../lib/oneshot/scan_once.ts";
import { escapeLine } from "../../lib/report/escape.ts";
import { firstUnsafe } from "../../lib/report/testing.ts";
import { PERMISSIONS } from "../../scripts/permissions.ts";
import { cap, Place, QUICKLY, TestDaemon } from "../support/daemon.ts";
import { MIB, requireRoot } from "../support/live.ts";
import { commandLine, rcap, rcapJson } from "../support/rcap.ts";
import { isRunning, until, Workload } from "../support/workload.ts";

requireRoot();

const BRIEFLY = ["--observe", "0"];

/** One character of each kind that a terminal interprets or hides, and a forged line. */
const HOSTILE =
  "\x1b]0;title\x07\x1b[2J\x7f\x9b31m\x85\r\t\u202egpj\u2066\u200e\u061c" +
  "\u2028\u2029\u200b\u{e0041}\ufeff\u00a0\n/all is well";

/** The forged line in {@linkcode HOSTILE}. */
const FORGED = /^\/all is well/m;

/** Process names, of which the kernel keeps 15 bytes. */
const NAMES = [
  "\x1b]0;title\x07",
  "\x1b[2J\x9b31m\x85x",
  "a\u202egpj.exe",
  "\u2066\u200f\u{e0041}",
  "x\r\trcap: ok\n!",
];

/** Asserts that a terminal shows a text literally. */
function assertPlain(text: string, what: string): void {
  const unsafe = firstUnsafe(text);
  assertEquals(unsafe, undefined, `${what}: ${JSON.stringify(text)}`);
}

/** Runs command lines in one process and returns how they ended. */
async function runAll(
  commandLines: readonly (readonly string[])[],
): Promise<{ args: readonly string[]; stdout: string; stderr: string }[]> {
  const script =
    new URL("../support/command_lines.ts", import.meta.url).pathname;
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", ...PERMISSIONS, script, JSON.stringify(commandLines)],
    stdin: "null",
    signal: AbortSignal.timeout(120_000),
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) =>
    new TextDecoder().decode(bytes).split(/(?<=^exit \d+\n)/m)
  );
  assert(success, err.join(""));
  assertEquals([out.length, err.length], Array(2).fill(commandLines.length));
  return commandLines.map((args, at) => ({
    args,
    stdout: out[at],
    stderr: err[at],
  }));
}

/**
 * Command lines that repeat an argument: in messages and in the output of `--json`
 * and `--print`.
 */
function echoing(text: string): string[][] {
  const flat = text.replaceAll("/", "");
  return [
    [text],
    [`--${text}`],
    ["help", text],
    ["--log-level", text, "doctor"],
    ["doctor", text],
    ["doctor", "-o", text],
    ["scan", text, "--cap", "1M"],
    ["scan", `--${text}`, "1"],
    ["scan", `-H${text}`, "1"],
    ["scan", "1", "--cap", text],
    ["scan", "1", "--cap", "1M", "--observe", text],
    ["scan", "1", "--cap", "1M", "--policy", text],
    ["scan", "1", "--cap", "1M", "--pagedata", text],
    ["scan", "1", "--cap", "1M", "-o", text],
    ...["pid", "tree", "comm", "user", "unit", "cgroup"].flatMap((kind) => [
      ["scan", `${kind}:${text}`, "--cap", "1M"],
    ]),
    ["scan", `cgroup:/${text}`, "--cap", "1M"],
    ["scan", `exe:/${text}`, "--cap", "1M"],
    ["scan", `comm:[${text}`, "--cap", "1M"],
    ["scan", `comm:${text}`, "--cap", "1M", "--json"],
    ["inspect", text],
    ["inspect", "1", "--pages", text],
    ["inspect", "1", "-o", text, "--json"],
    ["stat", text],
    ["stat", "1", text],
    ["stat", "--state-dir", text],
    ["stat", "--state-dir", `/no/such/${text}`],
    ["stat", "--state-dir", `/no/such/${text}`, "--json"],
    ["set", text, "1G", "--state-dir", "/no/such"],
    ["set", "web", text],
    ["set", "web", "1G", "--state-dir", `/no/such/${text}`],
    ["reload", "--state-dir", `/no/such/${text}`],
    ["check", "--config", `/no/such/${text}`],
    ["check", "--config", `/no/such/${text}`, "--json"],
    ["run", "--metrics", text],
    ["run", "--log-format", text],
    ["run", "--config", `/no/such/${text}`],
    ["run", "--config", `/no/such/${text}`, "--log-format", "json"],
    ["run", "--print-unit", "--config", text],
    ["run", "--print-unit", "--config", `/etc/${text}`],
    ["run", "--print-unit", "--state-dir", `/run/${flat}`],
    ["run", "--print-unit", "--state-dir", `/var/${text}`],
  ];
}

Deno.test("arguments are repeated on one line, escaped", async () => {
  for (const { args, stdout, stderr } of await runAll(echoing(HOSTILE))) {
    const what = JSON.stringify(args);
    assertPlain(stdout, what);
    assertPlain(stderr, what);
    assert(!FORGED.test(stdout) && !FORGED.test(stderr), what + stderr);
    // The argument was parsed: the message is about it, in the usual form.
    if (stderr.startsWith("exit")) continue;
    assertMatch(stderr, /^(rcap: |Usage: |\{)/, what);
  }
});

Deno.test("names of processes and mappings are escaped in tables, and intact after parsing JSON", async () => {
  using folder = temporaryFolder();
  for (const name of NAMES) {
    const path = `${folder.path}/${name.replaceAll("/", "")}`;
    Deno.writeFileSync(path, new Uint8Array(MIB));
    await using workload = await Workload.start();
    const { pid } = workload;
    const file = await workload.file("file", { path });
    await workload.name(name);
    const inspect = ["inspect", `${pid}`, ...BRIEFLY];
    const scan = [
      ...["scan", `${pid}`, "--cap", "1K", "--dry-run"],
      ...BRIEFLY,
      ...["--log-level", "debug"],
    ];
    const runs = await runAll([
      inspect,
      [...inspect, "-H"],
      [...inspect, "--json"],
      [...inspect, "--ages", "--json"],
      [...inspect, "--pages", file.start.toString(16), "--json"],
      scan,
      [...scan, "-H"],
      [...scan, "--json"],
      ["scan", `comm:${name}`, "--cap", "1P"],
    ]);
    for (const { args, stdout, stderr } of runs) {
      assertPlain(
        stdout.replaceAll("\t", args.includes("-H") ? " " : "\t"),
        args.join(" "),
      );
      assertPlain(stderr, args.join(" "));
    }
    const [text, bare, json, ages, pages, table, , report] = runs.map((
      { stdout },
    ) => stdout.replace(/exit \d+\n$/, ""));
    // Plus the header, the empty line and the totals.
    const { mappings, comm }: InspectReport = JSON.parse(json);
    assertEquals(comm, name);
    assertEquals(bare.split("\n").length, mappings.length + 1);
    assertEquals(text.split("\n").length, mappings.length + 4);
    assertEquals(JSON.parse(ages).comm, name);
    assertEquals(JSON.parse(pages).comm, name);
    assert(table.includes(escapeLine(name)), table);
    const { processes }: ScanReport = JSON.parse(report);
    assertEquals(processes[0].comm, name);
    const shown = text.split("\n").filter((line) => line.includes("/tmp/"));
    assert(shown.join("\n").includes(escapeLine(path)), shown.join("\n"));
    assert(mappings.some(({ name }) => name === path), json);
  }
});

Deno.test("names that are not UTF-8 are escaped", async () => {
  await using process = new Deno.Command("perl", {
    // PR_SET_NAME of prctl(2), on x86-64 and on arm64.
    args: [
      "-e",
      `my $n = "a\\xff\\x9b31m\\0"; syscall(${
        Deno.build.arch === "x86_64" ? 157 : 167
      }, 15, $n) == 0 or die; $| = 1; print "ready\\n"; sleep 60`,
    ],
    stdout: "piped",
    stdin: "null",
  }).spawn();
  const reader = process.stdout.getReader();
  await reader.read();
  const args = ["scan", `${process.pid}`, "--cap", "1K", "--dry-run"];
  const { stdout } = await rcap([...args, ...BRIEFLY]);
  const { json } = await rcapJson<ScanReport>([...args, ...BRIEFLY]);
  process.kill("SIGKILL");
  await reader.cancel();
  assertPlain(stdout, "scan");
  assert(stdout.includes("a\\ufffd\\ufffd31m"), stdout);
  assertEquals(json.processes[0].comm, "a\ufffd\ufffd31m");
});

Deno.test("the name of a zombie is on one line, escaped", async () => {
  for (const name of NAMES) {
    await using workload = await Workload.start({ name });
    const zombie = await workload.zombie();
    const runs = await runAll([
      ["scan", `${zombie}`, "--cap", "1M"],
      ["scan", `${zombie}`, "--cap", "1M", "--json"],
      ["inspect", `${zombie}`],
      ["inspect", `${zombie}`, "--json"],
    ]);
    for (const { stdout, stderr } of runs) {
      assertEquals(stdout, "exit 5\n");
      assertPlain(stderr, name);
      const told = `rcap: process ${zombie} (${escapeLine(name)}) is a zombie`;
      assert(stderr.startsWith(told), stderr);
    }
  }
});

function temporaryFolder(): Disposable & { readonly path: string } {
  const path = Deno.makeTempDirSync({ prefix: "rcap-output-" });
  return {
    path,
    [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }),
  };
}

Deno.test("the text of a configuration is escaped, and --print reads back as the same one", async () => {
  using folder = temporaryFolder();
  const name = HOSTILE.replaceAll("/", "");
  const file = `${folder.path}/${name}.toml`;
  const selector = `exe:/srv/${
    HOSTILE.replaceAll(/[[\]]/g, "")
  }\u0001\u{10ffff}`;
  const escaped = Array.from(selector, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return `\\U${code.toString(16).padStart(8, "0")}`;
  }).join("");
  const sound = `[[cap]]
name = "web"
select = ["${escaped}", "comm:a"]
max_rss = "64M"
`;
  Deno.writeTextFileSync(file, sound);
  const check = ["check", "--config", file];
  const [text, printed, json] = await runAll([
    check,
    [...check, "--print"],
    [...check, "--json"],
  ]);
  for (const { stdout, stderr } of [text, printed, json]) {
    assertPlain(stdout, stderr);
    assertEquals(stderr, "exit 0\n");
  }
  const toml = `${folder.path}/again.toml`;
  Deno.writeTextFileSync(toml, printed.stdout.replace(/exit 0\n$/, ""));
  const again = await rcapJson<CheckReport>(["check", "--config", toml]);
  const first: CheckReport = JSON.parse(json.stdout.replace(/exit 0\n$/, ""));
  assertEquals(first.files, [file]);
  for (const { config } of [first, again.json]) {
    assertEquals(config?.caps[0].select, [selector, "comm:a"]);
  }

  // Messages repeat invalid keys, values, and lines that are not TOML.
  const raw = name.replaceAll(/[\n\r]/g, "");
  Deno.writeTextFileSync(
    file,
    `${sound.replace("web", escaped)}"${escaped}" = "${escaped}"
[daemon]
policy = "${escaped}"
sample_interval = "${escaped}"
"${escaped}" = 1
`,
  );
  const broken = `${folder.path}/broken.toml`;
  Deno.writeTextFileSync(broken, `max_rss = ${raw}\n`);
  const wrong = await runAll([
    check,
    [...check, "--json"],
    ["run", "--config", file],
    ["check", "--config", broken],
    ["check", "--config", broken, "--json"],
  ]);
  for (const { args, stdout, stderr } of wrong) {
    assertPlain(stdout, args.join(" "));
    assertPlain(stderr, args.join(" "));
    assert(!FORGED.test(stdout) && !FORGED.test(stderr), stderr);
    assertMatch(stdout, /^exit 2$/m);
  }
});

/**
 * Executes a program with a blocked standard stream, 1 or 2: a full pipe, or a
 * terminal stopped as by Ctrl-S: `perl -e SCRIPT KIND FD PROGRAM…`. See ptmx(4),
 * and ioctl_tty(2) for TCXONC.
 */
const UNREAD = `
  use Fcntl;
  # Nothing is closed: this process itself is the reader.
  $^F = 255;
  my ($kind, $fd, @program) = @ARGV;
  my $end;
  if ($kind eq 'pipe') {
    pipe my $read, $end or die "pipe: $!";
    fcntl $end, F_SETFL, O_NONBLOCK or die "fcntl: $!";
    for my $size (4096, 1) { 1 while syswrite $end, 'x' x $size }
    fcntl $end, F_SETFL, 0 or die "fcntl: $!";
    fcntl $read, F_SETFD, 0;
    open STDIN, '<&', $read or die "dup: $!";
  } else {
    open my $terminal, '+<', '/dev/ptmx' or die "/dev/ptmx: $!";
    my ($unlocked, $number) = (pack('i', 0), pack('I', 0));
    ioctl $terminal, 0x40045431, $unlocked or die "TIOCSPTLCK: $!";
    ioctl $terminal, 0x80045430, $number or die "TIOCGPTN: $!";
    my $path = '/dev/pts/' . unpack 'I', $number;
    sysopen $end, $path, O_RDWR | O_NOCTTY or die "$path: $!";
    ioctl $end, 0x540A, 0 or die "TCXONC: $!";
    open STDIN, '<&', $terminal or die "dup: $!";
  }
  open $fd == 1 ? STDOUT : STDERR, '>&', $end or die "dup: $!";
  exec @program or die "exec: $!";
`;

type Unread = "pipe" | "terminal";

/** Starts rcap with a blocked standard stream. */
function startUnread(
  args: string[],
  { kind, fd }: { kind: Unread; fd: 1 | 2 },
): Deno.ChildProcess {
  const { command, commandArgs } = commandLine(args);
  return new Deno.Command("perl", {
    args: ["-e", UNREAD, kind, `${fd}`, command, ...commandArgs],
    stdin: "null",
    stdout: fd === 1 ? "null" : "piped",
    stderr: fd === 2 ? "null" : "piped",
  }).spawn();
}

/** Whether a thread of a process is writing to a descriptor: proc_pid_syscall(5). */
function isWriting(pid: number, fd: number): boolean {
  try {
    return Array.from(Deno.readDirSync(`/proc/${pid}/task`)).some(({ name }) =>
      // write(2) is 1 on x86-64, 64 on arm64.
      new RegExp(`^(1|64) 0x${fd} `).test(
        Deno.readTextFileSync(`/proc/${pid}/task/${name}/syscall`),
      )
    );
  } catch (error) {
    // The thread has just ended.
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Kills a process that does not end in time. */
function deadline(
  child: Deno.ChildProcess,
  milliseconds: number,
): Disposable {
  const end = () => {
    if (isRunning(child.pid)) child.kill("SIGKILL");
  };
  const timer = setTimeout(end, milliseconds);
  return {
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      end();
    },
  };
}

/** How soon after a signal rcap must end, in milliseconds. */
const PROMPTLY = 250;
/** The same on a busy machine. */
const GENEROUSLY = 2000;

const SIGNALS = [
  { signal: "SIGINT", exit: 130 },
  { signal: "SIGTERM", exit: 143 },
] as const;

/** Lets a command wait for a reader, and asserts that a signal ends it in time. */
async function assertEndsInTime(
  args: string[],
  kind: Unread,
): Promise<void> {
  const times: number[] = [];
  for (const { signal, exit } of SIGNALS) {
    const child = startUnread(args, { kind, fd: 1 });
    using _end = deadline(child, 60_000);
    const stderr = child.stderr.text();
    const { pid } = child;
    await until(
      () => isWriting(pid, 1),
      `rcap ${args.join(" ")} to write to a ${kind}`,
      30_000,
    );
    using _hang = deadline(child, 2 * GENEROUSLY);
    const began = performance.now();
    child.kill(signal);
    const { code } = await child.status;
    times.push(performance.now() - began);
    const told = `rcap ${args.join(" ")}, ${signal}: ${await stderr}`;
    assertEquals(code, exit, told);
    assert(!/^\s+at |internal error/m.test(told), told);
  }
  // The better of two attempts, since the machine may be busy.
  const shown = times.map((time) => `${Math.round(time)} ms`).join(", ");
  assert(Math.min(...times) < PROMPTLY, `${args.join(" ")}: ${shown}`);
  assert(Math.max(...times) < GENEROUSLY, `${args.join(" ")}: ${shown}`);
}

Deno.test("a signal ends a command whose output is not read", async () => {
  using place = new Place();
  await using workload = await Workload.start();
  const { pid } = workload;
  // Thousands of mappings: more than a pipe holds, and more than one write takes.
  await workload.anon("many", 16 * MIB);
  await workload.split("many", 1);
  await using daemon = await TestDaemon.start({
    config: QUICKLY + cap("one", [`pid:${pid}`], "1G"),
  });
  Deno.writeTextFileSync(place.config, cap("one", ["pid:1"], "1G"));
  const config = ["--config", place.config];
  const { stateArgs } = daemon.place;
  const scan = ["scan", `${pid}`, "--cap", "1K", "--dry-run", ...BRIEFLY];
  const inspect = ["inspect", `${pid}`, ...BRIEFLY];
  for (
    const args of [
      inspect,
      [...inspect, "--json"],
      ["stat", "100ms", "--json", ...stateArgs],
      ["stat", "100ms", ...stateArgs],
      ["set", "one", "2G", ...stateArgs],
      ["reload", ...stateArgs],
      [...scan, "--json"],
      scan,
      ["doctor"],
      ["doctor", "--json"],
      ["check", "--print", ...config],
      ["check", "--json", ...config],
      ["run", "--print-unit"],
      ["help", "run"],
    ]
  ) {
    await assertEndsInTime(args, "pipe");
  }
  await assertEndsInTime(inspect, "terminal");
  await assertEndsInTime(["doctor"], "terminal");
});

Deno.test("messages that are not read do not keep a command from ending", async () => {
  for (const kind of ["pipe", "terminal"] as const) {
    for (
      const [args, expected] of [
        [["scan", "firefox", "--cap", "1M"], 2],
        [["frobnicate"], 2],
        [[], 2],
        [["check", "--config", "/no/such"], 2],
      ] as const
    ) {
      const child = startUnread([...args], { kind, fd: 2 });
      using _end = deadline(child, 30_000);
      const stdout = child.stdout.text();
      const { code } = await child.status;
      assertEquals([code, await stdout], [expected, ""], args.join(" "));
    }
  }
});

Deno.test("output through a non-blocking pipe is complete", async () => {
  await using workload = await Workload.start();
  await workload.anon("many", 16 * MIB);
  await workload.split("many", 1);
  const { command, commandArgs } = commandLine(
    ["inspect", `${workload.pid}`, "--json", ...BRIEFLY],
  );
  // Passes on the program's output at its own pace.
  const script = `
    use Fcntl;
    pipe my $read, my $write or die "pipe: $!";
    fcntl $write, F_SETFL, O_NONBLOCK or die "fcntl: $!";
    if (!fork) { open STDOUT, '>&', $write; exec @ARGV }
    close $write;
    while (sysread $read, my $text, 20000) {
      select undef, undef, undef, 0.01;
      syswrite STDOUT, $text;
    }
  `;
  const { stdout, stderr } = await new Deno.Command("perl", {
    args: ["-e", script, command, ...commandArgs],
    stdin: "null",
    signal: AbortSignal.timeout(120_000),
  }).output();
  const text = new TextDecoder().decode(stdout);
  assert(text.length > 4 * 65536, `${text.length} characters`);
  const { mappings }: InspectReport = JSON.parse(text);
  assert(mappings.length > 4000);
  assert(!new TextDecoder().decode(stderr).includes("cannot write"));
});

/** Reads the pipe that is the standard input of a process until it contains a text. */
async function readUntil(
  pid: number,
  words: RegExp,
): Promise<string> {
  using file = await Deno.open(`/proc/${pid}/fd/0`);
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(65536);
  let text = "";
  const end = performance.now() + 60_000;
  while (!words.test(text) && performance.now() < end) {
    const length = await file.read(buffer);
    if (length === null) break;
    text += decoder.decode(buffer.subarray(0, length), { stream: true });
  }
  return text;
}

for (const format of ["text", "json"] as const) {
  Deno.test(`a full pipe as log does not block the daemon, and dropped messages are reported, as ${format}`, async () => {
    using place = new Place();
    const sound = QUICKLY + cap("one", ["comm:rcap-nobody"], "1G");
    Deno.writeTextFileSync(place.config, sound);
    const child = startUnread([
      ...["run", "--config", place.config, ...place.stateArgs],
      ...["--log-format", format],
    ], { kind: "pipe", fd: 2 });
    using _end = deadline(child, 120_000);
    const state = () => {
      try {
        return JSON.parse(
          Deno.readTextFileSync(`${place.state}/state.json`),
        );
      } catch {
        // It is not written yet.
        return undefined;
      }
    };
    await until(() => state() !== undefined, "the daemon to start", 30_000);
    assert(isWriting(child.pid, 2), "its log is not read");
    // Log far more messages than may wait.
    Deno.writeTextFileSync(
      place.config,
      sound +
        Array.from({ length: 3000 }, (_, at) => `key${at} = 1\n`).join(""),
    );
    await until(
      () => state()?.configuration.problems.length > 0,
      "the daemon to read its configuration",
      30_000,
    );
    const { updatedAt } = state();
    await until(
      () => state().updatedAt > updatedAt,
      "the daemon to go on",
      30_000,
    );
    const text = await readUntil(child.pid, /dropped.*\n/);
    const line = text.replace(/^x*/, "").split("\n")
      .find((line) => line.includes("dropped")) ?? "";
    const said = format === "json" ? JSON.parse(line).message : line;
    assertMatch(
      said,
      /(^rcap: warning: |^)\d+ messages were dropped: standard error took none, or too few, for \d+\.\d s$/,
    );
    // Again, the log is not read.
    Deno.writeTextFileSync(place.config, sound);
    await until(
      () => state().configuration.problems.length === 0,
      "the daemon to read its configuration",
      30_000,
    );
    using _hang = deadline(child, 2 * GENEROUSLY);
    const began = performance.now();
    child.kill("SIGTERM");
    const { code, signal } = await child.status;
    const took = performance.now() - began;
    await child.stdout.cancel();
    assertEquals([code, signal], [0, null]);
    assert(took < GENEROUSLY, `it took ${took} ms`);
    assertEquals(state(), undefined, "it has taken its state away");
  });
}
