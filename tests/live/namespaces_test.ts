/**
 * Tests of rcap where `/proc` shows other processes than pids mean, or not all of
 * them, and in namespaces of its own: no wrong process is touched, and the message
 * names the cause.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { examined, named, NAMES } from "../support/findings.ts";
import { cap, Place, quicklyBy } from "../support/daemon.ts";
import { assertIntact, BRIEFLY, MIB, requireRoot } from "../support/live.ts";
import { rcap, type RunOptions } from "../support/rcap.ts";
import {
  isPossible,
  remounted,
  unshared,
  withProc,
} from "../support/surroundings.ts";
import { anySwap } from "../support/swap.ts";
import { mappingFigures, residentOf, Workload } from "../support/workload.ts";
import { complain } from "../support/say.ts";

requireRoot();

/** A user that need not exist. */
const SOMEONE = 54_351;

/** A directory for mounts, which end with their namespace. */
const PLACE = Deno.makeTempDirSync({ prefix: "rcap-" });
addEventListener("unload", () => Deno.removeSync(PLACE));
// Every user can reach it through a chroot.
Deno.chmodSync(PLACE, 0o755);

/** A test in another environment, if the machine can provide it. */
function testIn(
  prefix: string[],
  name: string,
  test: (options: RunOptions) => Promise<void>,
): void {
  Deno.test(name, async () => {
    if (await isPossible(name, prefix)) await test({ prefix });
  });
}

/**
 * A process with referenced memory whose bits are not reset, and a configuration
 * with a cap for it.
 */
async function victim() {
  await using cleanup = new AsyncDisposableStack();
  const folder = Deno.makeTempDirSync({ prefix: "rcap-" });
  cleanup.defer(() => Deno.removeSync(folder, { recursive: true }));
  const workload = cleanup.use(await Workload.start());
  // Then others that reset reference bits, such as DAMON, do so one page at a time.
  await workload.small();
  const cold = await workload.anon("cold", 4 * MIB);
  const config = `${folder}/rcap.toml`;
  Deno.writeTextFileSync(
    config,
    `[[cap]]\nname = "cap"\nselect = ["pid:${workload.pid}"]\nmax_rss = "1M"\n`,
  );
  const moved = cleanup.move();
  return {
    pid: workload.pid,
    /** The command lines of all commands that look at processes. */
    commands: [
      ["scan", `${workload.pid}`, "--cap", "1M", ...BRIEFLY],
      ["scan", `${workload.pid}`, "--cap", "1M", "--dry-run", ...BRIEFLY],
      ["inspect", `${workload.pid}`, ...BRIEFLY],
      ["run", "--once", "--config", config, "--state-dir", `${folder}/state`],
      ["run", "--config", config, "--state-dir", `${folder}/state`],
    ],
    /** The command lines of those that signal a daemon. */
    signals: [
      ["set", "cap", "2M", "--state-dir", `${folder}/state`],
      ["reload", "--state-dir", `${folder}/state`],
    ],
    /** Asserts that its reference bits were not reset. */
    assertUntouched() {
      const { rss, referenced } = mappingFigures(workload.pid, cold.start);
      assertEquals(rss, cold.size);
      assert(referenced > 0, "the reference bits were reset");
    },
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

/**
 * Asserts that no command touches a process, and the messages of the commands and
 * of doctor.
 */
async function assertNothingWorks(
  options: RunOptions,
  { says, remedy }: { says: RegExp; remedy: RegExp },
): Promise<void> {
  await using target = await victim();
  for (const command of [...target.commands, ...target.signals]) {
    const { code, stdout, stderr } = await rcap(command, options);
    const told = `rcap ${command.join(" ")}: ${stderr}`;
    assertEquals({ code, stdout }, { code: 4, stdout: "" }, told);
    const last = stderr.trimEnd().split("\n").at(-1) ?? "";
    assertMatch(last, says, told);
    assertMatch(last, remedy, told);
  }
  target.assertUntouched();
  const { code, findings } = await examined(options);
  assertEquals(code, 4);
  const proc = named(findings, "proc");
  assertEquals([proc.status, proc.required], ["missing", true]);
  assertMatch(proc.detail, says);
  assertMatch(proc.remedy ?? "", remedy);
}

const OTHER_NAMESPACE = {
  says: /\/proc shows another pid namespace than the one that rcap runs in/,
  remedy: /unshare --mount-proc.+--pid=host/,
};

testIn(
  unshared("--pid", "--fork"),
  "in a pid namespace with its parent's /proc, nothing is touched",
  (options) => assertNothingWorks(options, OTHER_NAMESPACE),
);

testIn(
  [
    ...unshared("--mount", "--pid", "--fork"),
    "sh",
    "-c",
    // Like a container that is started with -v /proc:/proc.
    `mount --rbind /proc ${PLACE} && mount -t proc proc /proc &&
     mount --rbind ${PLACE} /proc && exec "$@"`,
    "sh",
  ],
  "in a pid namespace with the host's /proc mounted over its own, nothing is touched",
  (options) => assertNothingWorks(options, OTHER_NAMESPACE),
);

/**
 * Environments in which the runtime of the built binary does not start, since it
 * looks for itself in /proc.
 */
const needsOwnExe = Deno.env.has("RCAP_BIN");
if (needsOwnExe) {
  complain(
    "NOT SHOWN with a built binary: surroundings without /proc/self/exe, which it needs to start",
  );
}

/** A process in a mount namespace whose `/proc` shows a nested pid namespace. */
async function child() {
  const [command, ...args] = [
    ...unshared("--pid", "--fork", "--mount-proc"),
    "sh",
    "-c",
    "echo ready; exec sleep 100",
  ];
  const process = new Deno.Command(command, { args, stdout: "piped" }).spawn();
  const reader = process.stdout.getReader();
  const { value } = await reader.read();
  assertEquals(new TextDecoder().decode(value), "ready\n");
  // timeout(1) is our child, unshare(1) its own.
  const unshare = Number(
    Deno.readTextFileSync(
      `/proc/${process.pid}/task/${process.pid}/children`,
    ),
  );
  return {
    prefix: ["nsenter", `--mount=/proc/${unshare}/ns/mnt`, "--"],
    async [Symbol.asyncDispose]() {
      // This ends its whole namespace.
      Deno.kill(unshare, "SIGKILL");
      await reader.cancel();
      await process.status;
    },
  };
}

if (!needsOwnExe) {
  Deno.test("with the /proc of a nested pid namespace, nothing is touched", async () => {
    await using namespace = await child();
    const { prefix } = namespace;
    await assertNothingWorks({ prefix }, OTHER_NAMESPACE);
  });

  for (
    const [what, script] of [
      ["no /proc", "umount --lazy /proc"],
      ["another file system at /proc", "mount -t tmpfs none /proc"],
      [
        "a forged /proc",
        `mount -t tmpfs none /proc; mkdir /proc/$$; ln -s $$ /proc/self
         printf 'Pid:\\t%s\\nNSpid:\\t%s\\nCapEff:\\tffffffffff\\n' $$ $$ > /proc/$$/status`,
      ],
    ] as const
  ) {
    testIn(
      remounted(script),
      `with ${what} nothing is touched, and doctor ends no sooner`,
      (options) =>
        assertNothingWorks(options, {
          says: /no proc file system is mounted at \/proc/,
          remedy: /mount -t proc proc \/proc/,
        }),
    );
  }

  Deno.test("without /proc, the commands that do not need it work", async () => {
    const prefix = remounted("umount --lazy /proc");
    for (const args of [["--version"], ["scan", "--help"]]) {
      assertEquals((await rcap(args, { prefix })).code, 0, args.join(" "));
    }
    const folder = Deno.makeTempDirSync({ prefix: "rcap-" });
    try {
      const config = `${folder}/rcap.toml`;
      Deno.writeTextFileSync(
        config,
        '[[cap]]\nname = "a"\nselect = ["user:root"]\nmax_rss = "50%"\n',
      );
      // The owners of the file systems on the path are in /proc.
      const run = await rcap(["check", "--config", config], { prefix });
      assertEquals(run.code, 2, run.stderr);
      assertMatch(run.stderr, /mount the \/proc of this pid namespace/);
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  });
}

testIn(
  remounted("mount -o remount,ro,bind /proc"),
  "with a read-only /proc, nothing is touched",
  (options) =>
    assertNothingWorks(options, {
      says: /\/proc is read-only, so that no reference bits can be reset/,
      remedy: /mount -o remount,rw/,
    }),
);

testIn(
  unshared("--pid", "--fork", "--mount-proc"),
  "a pid namespace with its own /proc is scanned with smaps",
  async ({ prefix = [] }) => {
    const script = 'sleep 60 & "$@" "$!"';
    const run = await rcap(["scan", "--cap", "1K", "--dry-run", ...BRIEFLY], {
      prefix: [...prefix, "sh", "-c", script, "sh"],
    });
    assertEquals(run.code, 3, run.stderr);
    assertMatch(run.stdout, /^ *2 +sleep /m);
    assertMatch(
      run.stderr,
      /references are known a mapping at a time only \(smaps\): .*pid namespace/,
    );
    const { code, findings } = await examined({ prefix });
    assertEquals(code, 0);
    assertEquals(named(findings, "proc").status, "ok");
    const { status, detail, meaning } = named(findings, "namespaces");
    assertEquals(
      [status, detail],
      ["degraded", "not the machine's own: pid"],
    );
    assertMatch(meaning, /only the processes of this pid namespace are seen/);
  },
);

testIn(
  unshared("--user", "--map-root-user"),
  "root in a user namespace gets a message about the namespace",
  async (options) => {
    await using target = await victim();
    for (const command of target.commands) {
      const { code, stderr } = await rcap(command, options);
      assertEquals(code, 4, stderr);
      assertMatch(
        stderr,
        /rcap runs in a user namespace, beyond which .+; run/,
      );
      assert(!/is missing|run as root(?! of)/.test(stderr), stderr);
    }
    target.assertUntouched();
    const { code, findings } = await examined(options);
    assertEquals(code, 4);
    const { status, detail, meaning } = named(findings, "privileges");
    assertEquals(status, "missing");
    assertMatch(
      detail,
      /^root, with CAP_SYS_PTRACE.+ in a user namespace only/,
    );
    assertMatch(meaning, /processes of this namespace only/);
    assertEquals(
      named(findings, "namespaces").detail,
      "not the machine's own: user",
    );
    const bpf = named(findings, "BPF");
    assertEquals(bpf.status, "missing");
    assertMatch(bpf.detail, /user namespace/);
  },
);

testIn(
  unshared(
    "--user",
    "--map-root-user",
    "--pid",
    "--fork",
    "--mount-proc",
  ),
  "root of an unprivileged container cannot page out its own processes, and the message says why",
  async ({ prefix = [] }) => {
    const script = 'sleep 60 & "$@" "$!"';
    const inside = { prefix: [...prefix, "sh", "-c", script, "sh"] };
    const scan = ["scan", "--cap", "1K", ...BRIEFLY];
    const run = await rcap(scan, inside);
    assertEquals(run.code, 4, run.stderr);
    assertMatch(
      run.stderr,
      /process 2: may not be paged out .+; rcap runs in a user namespace/,
    );
    const dry = await rcap([...scan, "--dry-run"], inside);
    assertEquals(dry.code, 3, dry.stderr);
  },
);

testIn(
  unshared("--cgroup"),
  "doctor reports that a cgroup namespace shortens paths",
  async (options) => {
    const { code, findings } = await examined(options);
    assertEquals(code, 0);
    for (const name of ["namespaces", "cgroups"]) {
      const { status, meaning, remedy } = named(findings, name);
      assertEquals(status, "degraded");
      assertMatch(meaning, /paths from rcap's own cgroup on, with \/\.\.\//);
      assertMatch(remedy ?? "", /--cgroupns=host/);
    }
  },
);

testIn(
  withProc("subset=pid"),
  "with subset=pid, scan and inspect work, and run says why it does not work",
  async (options) => {
    const { code, findings } = await examined(options);
    assertEquals(code, 0);
    const { status, detail, remedy } = named(findings, "proc");
    assertEquals(status, "degraded");
    assertMatch(detail, /; subset=pid$/);
    assertMatch(remedy ?? "", /mount proc without subset=pid/);
    await using target = await victim();
    const [scan, dryRun, inspect, once, run] = target.commands;
    for (const command of [once, run]) {
      const { code, stderr } = await rcap(command, options);
      assertEquals(code, 4);
      assertMatch(
        stderr,
        /how much memory is available is not known \(.+\); mount proc without subset=pid/,
      );
    }
    target.assertUntouched();
    for (const command of [scan, dryRun, inspect]) {
      const { code, stderr } = await rcap(command, options);
      assert([0, 3].includes(code), stderr);
    }
  },
);

for (const hidepid of ["noaccess", "invisible", "ptraceable"]) {
  testIn(
    withProc(`hidepid=${hidepid},gid=54352`),
    `users from whom hidepid=${hidepid} hides processes get a warning`,
    async (options) => {
      const root = await examined(options);
      assertEquals(root.code, 0);
      const { status, detail } = named(root.findings, "proc");
      assertEquals(status, "ok");
      assert(detail.endsWith(`; hidepid=${hidepid} does not hold for rcap`));

      const other = { ...options, uid: SOMEONE };
      const { findings } = await examined(other);
      const proc = named(findings, "proc");
      assertEquals(proc.status, "degraded");
      assert(proc.detail.endsWith(`; hidepid=${hidepid}`), proc.detail);
      assertMatch(proc.meaning, /other users' processes may be /);

      const run = await rcap(["inspect", `${Deno.pid}`, ...BRIEFLY], other);
      assertEquals(run.code, hidepid === "noaccess" ? 4 : 5, run.stderr);
      assertMatch(
        run.stderr,
        new RegExp(
          `/proc is mounted with hidepid=${hidepid}: other users' processes may be `,
        ),
      );
    },
  );
}

/**
 * Environments in which cgroups are mounted that cannot be reached: others are mounted
 * over them, as by a service manager in a container.
 */
const COVERED: Readonly<Record<string, string>> = {
  "nothing": "mount -t tmpfs none /sys/fs/cgroup",
  "version 2":
    "mount -t tmpfs none /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup",
};

for (const [what, script] of Object.entries(COVERED)) {
  testIn(
    [...unshared("--mount", "--cgroup"), ...remounted(script)],
    `with ${what} mounted over the machine's cgroups, processes are observed and paged out`,
    async (options) => {
      await using _swap = await anySwap({ size: 64 * MIB });
      await using workload = await Workload.start();
      await workload.small();
      const { start, end } = await workload.anon("cold", 32 * MIB);
      using place = new Place();
      Deno.writeTextFileSync(
        place.config,
        `${quicklyBy("coldest")}${cap("one", [`pid:${workload.pid}`], "16M")}`,
      );
      const { code, stderr } = await rcap([
        "run",
        "--once",
        "--config",
        place.config,
        ...place.stateArgs,
      ], options);
      assertEquals(code, 0, stderr);
      const left = residentOf(workload.pid, start, end);
      assert(left <= 16 * MIB, `${left}; ${stderr}`);
      await assertIntact(workload);
    },
  );
}

/** Environments that lack something that doctor looks for. */
const LACKING: Readonly<Record<string, string[]>> = {
  "/sys": remounted("umount --lazy /sys"),
  "swap in /proc/swaps": remounted("mount --bind /dev/null /proc/swaps"),
  "cgroups": remounted("umount --recursive --lazy /sys/fs/cgroup"),
  "the memory cgroup": remounted(
    "mount --bind /proc/self/cgroup /proc/cgroups; umount --lazy /sys/fs/cgroup/memory || true",
  ),
  ...needsOwnExe ? {} : {
    "all that is mounted": [
      ...remounted(`mount --bind / ${PLACE}`),
      "chroot",
      PLACE,
    ],
  },
};

for (const [what, prefix] of Object.entries(LACKING)) {
  for (const uid of [undefined, SOMEONE]) {
    const who = uid === undefined ? "root" : "others";
    testIn(prefix, `doctor tells all to ${who} without ${what}`, async () => {
      const { code, findings } = await examined({ prefix, uid });
      assert([0, 4].includes(code));
      assertEquals(findings.map(({ name }) => name), NAMES);
      if (what === "/sys") {
        for (const name of ["large pages", "BTF"]) {
          const { status, detail } = named(findings, name);
          assertEquals(status, "missing");
          assertEquals(detail, "no sysfs is mounted at /sys");
        }
      }
    });
  }
}
