/**
 * Tests of wrong command lines and of processes that rcap may not work on: exit
 * codes and messages, which go only to standard error.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import denoJson from "../../../deno.json" with { type: "json" };
import { requireRoot } from "../../support/live.ts";
import {
  commandLine,
  rcap,
  type Run,
  type RunOptions,
} from "../../support/rcap.ts";
import { isRunning, Workload } from "../../support/workload.ts";

requireRoot();

/** Users that need not exist. */
const [SOMEONE, SOMEONE_ELSE] = [54_321, 54_322];

/** No process has this pid: it is the limit, which is never assigned. */
const NOBODYS_PID = "4194304";

/** Asserts that rcap refused, by its exit code and message. */
function assertRefused(
  { code, stdout, stderr }: Run,
  expected: { code: number; message: string | RegExp },
  what: string,
): void {
  const told = `rcap ${what}: ${stderr}`;
  assertEquals({ code, stdout }, { code: expected.code, stdout: "" }, told);
  assertMatch(stderr, /^rcap: /, told);
  const { message } = expected;
  const says = typeof message === "string"
    ? stderr.includes(message)
    : message.test(stderr);
  assert(says, `expected ${message} of ${told}`);
}

/** Runs rcap and asserts that it refuses. */
async function refuses(
  args: string[],
  expected: { code: number; message: string | RegExp },
  options?: RunOptions,
): Promise<void> {
  assertRefused(await rcap(args, options), expected, args.join(" "));
}

/** Asserts that command lines are refused, each with its message. */
async function areWrong(
  ...lines: [args: string[], message: string][]
): Promise<void> {
  for (const [args, message] of lines) {
    await refuses(args, { code: 2, message });
  }
}

Deno.test("unknown commands and options are refused, with a hint to help", async () => {
  await areWrong(
    [["frobnicate"], "unknown command 'frobnicate'\nsee rcap --help\n"],
    [["--frobnicate"], "unknown option '--frobnicate'"],
    [["--json", "doctor"], "unknown option '--json'"],
    [
      ["scan", "--bar", "1"],
      "unknown option '--bar'\nsee rcap scan --help\n",
    ],
    [["scan", "-1", "--cap", "1M"], '"-1" is not a selector; use pid:N or N'],
    [["inspect", "--cap", "1M", "1"], "unknown option '--cap'"],
    [["doctor", "--observe", "1s"], "unknown option '--observe'"],
    [["check", "--cofig", "x"], "(Did you mean --config?)"],
    [
      ["help", "scna"],
      "unknown command 'scna'\n(Did you mean scan?)\nsee rcap --help\n",
    ],
    [["help", "frobnicate"], "unknown command 'frobnicate'\nsee rcap --help\n"],
    [
      ["scna", "--help"],
      "unknown command 'scna'\n(Did you mean scan?)\nsee rcap --help\n",
    ],
    [
      ["--help", "frobnicate"],
      "unknown command 'frobnicate'\nsee rcap --help\n",
    ],
    [["-h", "frobnicate"], "unknown command 'frobnicate'\nsee rcap --help\n"],
  );
});

Deno.test("rcap alone shows its usage", async () => {
  const { code, stdout, stderr } = await rcap([]);
  assertEquals({ code, stdout }, { code: 2, stdout: "" });
  assertMatch(stderr, /^Usage: rcap /);
});

Deno.test("missing and superfluous arguments are refused", async () => {
  await areWrong(
    [["scan", "--cap", "1M"], "missing required argument 'selector'"],
    [["inspect"], "missing required argument 'pid'"],
    [["inspect", "1", "2"], "too many arguments"],
    [["doctor", "1"], "too many arguments"],
    [["check", "/etc/rcap.toml"], "too many arguments"],
    [["scan", "1", "--cap"], "option '--cap <size>' argument missing"],
    [["--log-level"], "argument missing"],
  );
});

Deno.test("a recording has at least one interval", async () => {
  await areWrong([
    ["record", "1", "--for", "1s"],
    "--every 5s is longer than --for 1s; record for several intervals",
  ]);
});

Deno.test("a scan requires either --cap or --excess", async () => {
  await areWrong(
    [["scan", "1"], "the goal is missing; give --cap SIZE or --excess SIZE"],
    [
      ["scan", "1", "--cap", "1M", "--excess", "1M"],
      "--cap and --excess exclude each other",
    ],
  );
});

Deno.test("invalid sizes, and sizes out of range, are refused", async () => {
  await areWrong(
    [
      ["scan", "1", "--cap", "-1"],
      `--cap: "-1" is not a size; write bytes (1048576), a unit (512K, 1.5G, 2GiB) or a share of memory (25%)`,
    ],
    [["scan", "1", "--cap=-1"], `--cap: "-1" is not a size`],
    [["scan", "1", "--cap", "10X"], `--cap: "10X" is not a size`],
    [["scan", "1", "--cap", ""], `--cap: "" is not a size`],
    [
      ["scan", "1", "--cap", "0"],
      `--cap: "0" is out of range; a size is at least one byte`,
    ],
    [["scan", "1", "--excess", "0"], `--excess: "0" is out of range`],
    [["scan", "1", "--excess", "101%"], `--excess: "101%" is out of range`],
    [["scan", "1", "--cap", "9P"], `--cap: "9P" is out of range`],
  );
});

Deno.test("invalid values of options are refused", async () => {
  const scan = ["scan", "1", "--cap", "1M"];
  await areWrong(
    [
      [...scan, "--observe", "3d"],
      `--observe: "3d" is not a duration; write a number and a unit (500ms, 5s, 2m, 1h), or seconds (5)`,
    ],
    [[...scan, "--observe", "-1s"], `--observe: "-1s" is not a duration`],
    [
      ["inspect", "1", "--observe", "600h"],
      `--observe: "600h" is out of range`,
    ],
    [
      [...scan, "--policy", "lru"],
      "argument 'lru' is invalid. Allowed choices are clock, coldest.",
    ],
    [
      [...scan, "--pagedata", "magic"],
      "argument 'magic' is invalid. Allowed choices are auto, pte, smaps.",
    ],
    [
      ["inspect", "1", "--pagedata", ""],
      "argument '' is invalid. Allowed choices are auto, pte, smaps.",
    ],
    [
      ["--log-level", "loud", "doctor"],
      "argument 'loud' is invalid. Allowed choices are error, warn, info, debug.",
    ],
    [["doctor", "--log-level", "loud"], "argument 'loud' is invalid"],
  );
});

Deno.test("unknown columns are refused, and the known ones listed", async () => {
  await areWrong(
    [
      ["scan", "1", "--cap", "1M", "-o", "pid,weight"],
      `-o: there is no field "weight"; the fields are pid, comm, rss, unreferenced, attempted, effective, error`,
    ],
    [
      ["inspect", "1", "-o", ""],
      `-o: there is no field ""; the fields are start, size, rss, own, anon, ref, mod, swap, locked, perm, verdict, name`,
    ],
    [
      ["doctor", "-o", "what"],
      `-o: there is no field "what"; the fields are name, status, detail, meaning, remedy`,
    ],
  );
});

Deno.test("invalid selectors are refused", async () => {
  const message =
    "is not a process id; a process id is a whole number from 1 to 4194304";
  await areWrong(
    [["scan", "0", "--cap", "1M"], `selector "0": "0" ${message}`],
    [["scan", "pid:0", "--cap", "1M"], `selector "pid:0": "0" ${message}`],
    [["scan", "tree:0", "--cap", "1M"], `selector "tree:0": "0" ${message}`],
    [["inspect", "0"], `process "0": "0" ${message}`],
    [["inspect", "pid:x"], `process "pid:x": "x" ${message}`],
    [
      ["scan", "firefox", "--cap", "1M"],
      `"firefox" is not a selector; use pid:N or N, `,
    ],
    [
      ["scan", "comm:[a", "--cap", "1M"],
      `selector "comm:[a": malformed glob "[a"`,
    ],
    [["scan", "1", "exe:/[", "--cap", "1M"], `malformed glob "/["`],
    [
      ["scan", "user:no-such-user", "--cap", "1M"],
      `selector "user:no-such-user": there is no user "no-such-user"`,
    ],
    [["scan", "zone:global", "--cap", "1M"], "zones are an illumos feature"],
  );
});

Deno.test("only root can read page tables, and the message says so", async () => {
  const expected = {
    code: 4,
    message:
      /--pagedata pte does not work: bpf: .+: rcap is without CAP_BPF and CAP_PERFMON; run as root/,
  };
  const options = { uid: 54_321 };
  for (const args of [["scan", "1", "--cap", "1M"], ["inspect", "1"]]) {
    await refuses([...args, "--pagedata", "pte"], expected, options);
  }
});

Deno.test("selectors that match nothing are an error", async () => {
  const cap = ["--cap", "1M"];
  const lines: [args: string[], message: string][] = [
    [["scan", NOBODYS_PID, ...cap], `no process has pid ${NOBODYS_PID}`],
    [
      ["scan", `tree:${NOBODYS_PID}`, ...cap],
      `no process has pid ${NOBODYS_PID}`,
    ],
    [["inspect", NOBODYS_PID], `no process has pid ${NOBODYS_PID}`],
    [
      ["scan", "comm:no-such-comm", ...cap],
      `no process matches selector "comm:no-such-comm"`,
    ],
    [
      ["scan", "exe:/no/such/*", ...cap],
      `no process matches selector "exe:/no/such/*"`,
    ],
    [
      ["scan", "user:54323", ...cap],
      `no process matches selector "user:54323"`,
    ],
    [
      ["scan", "unit:no-such-unit", "cgroup:/no/such", ...cap],
      `"unit:no-such-unit"; no process matches selector "cgroup:/no/such"`,
    ],
  ];
  for (const [args, message] of lines) {
    await refuses(args, { code: 5, message });
  }
});

Deno.test("a selector that matches nothing is a warning if another matches", async () => {
  await using workload = await Workload.start();
  const { code, stderr } = await rcap([
    "scan",
    `${workload.pid}`,
    "comm:no-such-comm",
    "--cap",
    "1P",
  ]);
  assertEquals(
    { code, stderr },
    {
      code: 0,
      stderr:
        `rcap: warning: no process matches selector "comm:no-such-comm"\n`,
    },
  );
});

Deno.test("rcap does not work on itself", async () => {
  for (
    const [args, selector] of [[["scan", "--cap", "1M"], "pid:"], [[
      "scan",
      "--cap",
      "1M",
    ], "tree:"], [["inspect"], ""]] as const
  ) {
    const { command, commandArgs } = commandLine([...args]);
    // The shell executes rcap and keeps its pid.
    const { code, stdout, stderr } = await new Deno.Command("sh", {
      args: ["-c", `exec "$@" "${selector}$$"`, "sh", command, ...commandArgs],
    }).output();
    const [out, err] = [stdout, stderr].map((bytes) =>
      new TextDecoder().decode(bytes)
    );
    assertRefused(
      { code, stdout: out, stderr: err },
      { code: 5, message: /^rcap: process \d+ is rcap itself$/m },
      args.join(" "),
    );
  }
});

Deno.test("kernel threads are not worked on", async () => {
  const kthreadd = "2";
  const isThere = (() => {
    try {
      return Deno.readTextFileSync(`/proc/${kthreadd}/comm`) === "kthreadd\n";
    } catch {
      return false;
    }
  })();
  assert(isThere, "process 2 is not kthreadd: run this outside of containers");
  const expected = {
    code: 5,
    message:
      "process 2 (kthreadd) is a kernel thread, which has no memory of its own",
  };
  await refuses(["scan", kthreadd, "--cap", "1M"], expected);
  await refuses(["inspect", kthreadd], expected);
  await refuses(["scan", "tree:2", "--cap", "1M"], {
    code: 5,
    message: "matches only rcap itself, kernel threads or zombies",
  });
});

Deno.test("zombies are not worked on", async () => {
  await using workload = await Workload.start();
  const zombie = await workload.zombie();
  const expected = {
    code: 5,
    message:
      `process ${zombie} (perl) is a zombie: it has exited and waits for its parent ${workload.pid} to reap it`,
  };
  await refuses(["scan", `${zombie}`, "--cap", "1M"], expected);
  await refuses(["inspect", `${zombie}`], expected);
});

Deno.test("process 1 is scanned, or the message says why not", async () => {
  const runs = [
    await rcap(["scan", "1", "--dry-run", "--cap", "1K", "--observe", "0"]),
    await rcap(["inspect", "1", "--observe", "0"]),
  ];
  for (const run of runs) {
    if (run.code === 4) {
      const message = /^rcap: process 1: access denied \(.+\); .+$/m;
      assertRefused(run, { code: 4, message }, "on process 1");
    } else {
      assert([0, 3].includes(run.code), run.stderr);
    }
  }
  assert(isRunning(1));
});

Deno.test("without root, processes of others are not accessible", async () => {
  await using workload = await Workload.start({ uid: SOMEONE_ELSE });
  await using roots = await Workload.start();
  const folder = Deno.makeTempDirSync();
  Deno.chmodSync(folder, 0o777);
  for (const pid of [`${workload.pid}`, `${roots.pid}`]) {
    const denied = {
      code: 4,
      message: new RegExp(
        `^rcap: process ${pid}: access denied \\(.+\\); run as root, or with CAP_SYS_PTRACE, CAP_DAC_OVERRIDE$`,
        "m",
      ),
    };
    const options = { uid: SOMEONE };
    await refuses(["scan", pid, "--cap", "1K"], denied, options);
    await refuses(["scan", pid, "--cap", "1K", "--dry-run"], denied, options);
    await refuses(["inspect", pid], denied, options);
    await refuses(["size", pid, "--observe", "1s"], denied, options);
    const recording = ["-o", `${folder}/one.rcap`];
    await refuses(["record", pid, ...recording], denied, options);
  }
  assertEquals([...Deno.readDirSync(folder)], []);
  Deno.removeSync(folder);
});

Deno.test("without root, a user's own processes are scanned only as a dry run", async () => {
  await using workload = await Workload.start({ uid: SOMEONE });
  const { pid } = workload;
  const options = { uid: SOMEONE };
  const scan = ["scan", `${pid}`, "--cap", "1K", "--observe", "0"];
  await refuses(scan, {
    code: 4,
    message: /may not be paged out \(.+\); run as root, or with CAP_SYS_NICE/,
  }, options);
  const { code, stdout } = await rcap([
    ...scan,
    "--dry-run",
    "-H",
    "-o",
    "pid,error",
  ], options);
  assertEquals({ code, stdout }, { code: 3, stdout: `${pid}\t-\n` });
});

const COMMON = ["--help", "--version", "--log-level", "--no-color"];
const TABLE = ["--json", "-H", "-o", "-p"];
const HELP: Readonly<Record<string, string[]>> = {
  "": ["scan", "inspect", "check", "doctor", ...COMMON],
  scan: [
    ...COMMON,
    ...TABLE,
    "--cap",
    "--excess",
    "--dry-run",
    "--observe",
    "--policy",
    "--pagedata",
    "pid:N",
    "tree:N",
    "user:NAME",
    "comm:GLOB",
    "exe:GLOB",
    "cgroup:GLOB",
    "unit:NAME",
    "unreferenced",
    "Sizes:",
    "Exit status:",
    "Examples:",
  ],
  inspect: [
    ...COMMON,
    ...TABLE,
    "--observe",
    "--pages",
    "--pagedata",
    "verdict",
    "Exit status:",
    "Examples:",
  ],
  check: [
    ...COMMON,
    "--config",
    "--print",
    "--json",
    "[[cap]]",
    "Exit status:",
    "Examples:",
  ],
  doctor: [...COMMON, ...TABLE, "remedy", "Exit status:"],
};

Deno.test("every command has help, which lists every option", async () => {
  for (const [command, words] of Object.entries(HELP)) {
    const args = command === "" ? [] : [command];
    const { code, stdout, stderr } = await rcap([...args, "--help"]);
    assertEquals({ code, stderr }, { code: 0, stderr: "" }, command);
    assertMatch(stdout, new RegExp(`^Usage: rcap ${command}`));
    for (const word of words) {
      assert(stdout.includes(word), `${word} in the help of ${command}`);
    }
    assertEquals(await rcap(["help", ...args]), { code, stdout, stderr });
    assertEquals(await rcap([...args, "-h"]), { code, stdout, stderr });
  }
});

Deno.test("--version, -V and version print the version", async () => {
  const expected = { code: 0, stdout: `${denoJson.version}\n`, stderr: "" };
  for (
    const args of [
      ["--version"],
      ["-V"],
      ["version"],
      ["scan", "--version"],
      ["scan", "-V"],
      ["--no-color", "version"],
    ]
  ) {
    assertEquals(await rcap(args), expected, args.join(" "));
  }
});

Deno.test("global options may be before or after the command", async () => {
  await using workload = await Workload.start();
  const scan = ["scan", `${workload.pid}`, "--cap", "1P"];
  const debug = ["--log-level", "debug"];
  assertEquals((await rcap(scan)).stderr, "");
  for (const args of [[...debug, ...scan], [...scan, ...debug]]) {
    assertEquals(
      (await rcap(args)).stderr,
      "rcap: under the cap: nothing to observe, nothing to do\n",
    );
  }
});

Deno.test("warnings depend on the log level, and go to standard error", async () => {
  await using workload = await Workload.start();
  const inspect = [
    "inspect",
    `${workload.pid}`,
    "--observe",
    "0",
    "-H",
    "-o",
    "perm",
  ];
  const warning =
    "rcap: warning: observing for 0 s only: memory that is in use, if not at this moment, looks idle; 2 s or more are better\n";
  for (
    const [level, stderr] of [["info", warning], ["warn", warning], [
      "error",
      "",
    ]]
  ) {
    const run = await rcap([...inspect, "--log-level", level]);
    assertEquals(
      { code: run.code, stderr: run.stderr },
      { code: 0, stderr },
      level,
    );
    assertMatch(run.stdout, /^([r-][w-][x-][ps]\n)+$/);
  }
});

/**
 * Runs a program with its standard output on a terminal, and passes on its output:
 * ptmx(4), ioctl_tty(2).
 */
const ON_TERMINAL = `
  open my $terminal, '+<', '/dev/ptmx' or die "/dev/ptmx: $!";
  my ($unlocked, $number) = (pack('i', 0), pack('I', 0));
  ioctl $terminal, 0x40045431, $unlocked or die "TIOCSPTLCK: $!";
  ioctl $terminal, 0x80045430, $number or die "TIOCGPTN: $!";
  my $path = '/dev/pts/' . unpack 'I', $number;
  open my $program, '>', $path or die "$path: $!";
  if (!fork) { open STDOUT, '>&', $program; exec @ARGV }
  close $program;
  # The end is an error: the terminal is not open any more.
  while (sysread $terminal, my $text, 65536) { syswrite STDOUT, $text }
`;

/** Runs rcap on a terminal. */
async function onTerminal(
  args: string[],
  env: Record<string, string>,
): Promise<string> {
  const { command, commandArgs } = commandLine(args);
  const { stdout, stderr } = await new Deno.Command("perl", {
    args: ["-e", ON_TERMINAL, command, ...commandArgs],
    env,
  }).output();
  assertEquals(new TextDecoder().decode(stderr), "");
  return new TextDecoder().decode(stdout);
}

Deno.test("a terminal gets colours unless they are disabled", async () => {
  const isColored = (text: string) => text.includes("\x1b[3");
  const doctor = ["doctor", "-o", "name,status"];
  // An empty NO_COLOR has no effect: https://no-color.org.
  const wanted = { NO_COLOR: "" };
  const colored = await onTerminal(doctor, wanted);
  assert(isColored(colored), colored);
  const plain = [
    await onTerminal(doctor, { NO_COLOR: "1" }),
    await onTerminal([...doctor, "--no-color"], wanted),
    await onTerminal(["--no-color", ...doctor], wanted),
    await onTerminal([...doctor, "-H"], wanted),
    await onTerminal([...doctor, "--json"], wanted),
    (await rcap(doctor, { env: wanted })).stdout,
  ];
  for (const text of plain) {
    assert(text.includes("pidfd"), text);
    assert(!isColored(text), text);
  }
});
