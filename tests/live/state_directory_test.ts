/**
 * Tests of commands on state directories that belong to another user, that others
 * can write to, or that contain something that no daemon made.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { boottimeSeconds } from "../../ffi/clock.ts";
import "../../ffi/testing.ts";
import { daemonState, groupState } from "../../lib/group/testing.ts";
import { readProcess } from "../../lib/platform/linux/process_list.ts";
import { cap, Place, QUICKLY, TestDaemon } from "../support/daemon.ts";
import { requireRoot } from "../support/live.ts";
import { rcap, type Run, type RunOptions } from "../support/rcap.ts";
import { isRunning, until } from "../support/workload.ts";

requireRoot();

const NOBODY = 65534;
/** A cap that is never exceeded. */
const HARMLESS = QUICKLY + cap("one", ["comm:rcap-nobody"], "1G");

/** Runs rcap; kills a run that does not end, which then exits with 137. */
function bounded(args: string[], options: RunOptions = {}): Promise<Run> {
  return rcap(args, { ...options, prefix: ["timeout", "-s", "KILL", "30"] });
}

async function run(program: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args })
    .output();
  assert(success, `${program}: ${new TextDecoder().decode(stderr)}`);
}

/** A process of a given user that runs a Perl script. */
class Script implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
  }

  /** @param script must close its standard output when it is ready. */
  static async start(
    script: string,
    { uid = 0, args = [] }: { uid?: number; args?: string[] } = {},
  ): Promise<Script> {
    const child = new Deno.Command("perl", {
      args: ["-e", script, ...args],
      uid,
      stdin: "null",
      stdout: "piped",
    }).spawn();
    assertEquals(await child.stdout.text(), "ready");
    return new Script(child);
  }

  get pid(): number {
    return this.#child.pid;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (isRunning(this.pid)) this.#child.kill("SIGKILL");
    await this.#child.status;
  }
}

const READY = `$| = 1; print "ready"; close STDOUT; sleep 1 while 1`;
const F_RDLCK = 0;
const F_WRLCK = 1;

/** Locks a file; the 64-bit struct flock begins with l_type. */
function locker(path: string, type: number, uid = NOBODY): Promise<Script> {
  const script = `open(my $file, $ARGV[1] ? "+<" : "<", $ARGV[0]) or die $!;
    my $lock = pack("s s x4 q q i x4", $ARGV[1], 0, 0, 0, 0);
    fcntl($file, 6, $lock) or die "lock: $!"; ${READY}`;
  return Script.start(script, { uid, args: [path, `${type}`] });
}

/** A state directory that a user has made, with a state that looks valid. */
class FalseState implements Disposable {
  readonly place = new Place();

  constructor(
    { pid, uid = NOBODY, mode = 0o755 }: {
      pid: number;
      uid?: number;
      mode?: number;
    },
  ) {
    const { path } = this;
    Deno.mkdirSync(path);
    const { startTime } = readProcess(pid);
    const state = daemonState({
      pid,
      startTime,
      monotonic: boottimeSeconds(),
      reportInterval: 3600,
      groups: [groupState({ name: "one" })],
    });
    const pidNamespace = Deno.readLinkSync("/proc/self/ns/pid");
    const text = JSON.stringify({ ...state, pidNamespace });
    for (const [name, contents] of [["state.json", text], ["lock", ""]]) {
      Deno.writeTextFileSync(`${path}/${name}`, contents);
      Deno.chownSync(`${path}/${name}`, uid, uid);
    }
    Deno.chownSync(path, uid, uid);
    Deno.chmodSync(path, mode);
    Deno.writeTextFileSync(this.place.config, HARMLESS);
  }

  get path(): string {
    return this.place.state;
  }

  get lock(): string {
    return `${this.path}/lock`;
  }

  /** All commands that act on a daemon, with this directory. */
  get acts(): string[][] {
    return [
      ["reload", ...this.place.stateArgs],
      ["set", "one", "1G", ...this.place.stateArgs],
      ["run", "--config", this.place.config, ...this.place.stateArgs],
      ["run", "--once", "--config", this.place.config, ...this.place.stateArgs],
    ];
  }

  [Symbol.dispose](): void {
    this.place[Symbol.dispose]();
  }
}

/** The names and file contents below a directory, to check that nothing changes. */
function contentsOf(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap(
    ({ name, isDirectory, isFile }) => {
      const path = `${folder}/${name}`;
      const text = isFile ? Deno.readTextFileSync(path) : "";
      return [`${path}=${text}`, ...isDirectory ? contentsOf(path) : []];
    },
  ).sort();
}

Deno.test("another user's state causes no signal and no change", async () => {
  // SIGHUP and SIGUSR1 would end it.
  await using victim = await Script.start(READY);
  for (
    const [options, problem] of [
      [{}, /belongs to uid 65534; chown root /],
      [
        { uid: 0, mode: 0o777 },
        /mode 777, so that others can write to it; chmod o-w /,
      ],
      [
        { uid: 0, mode: 0o1777 },
        /mode 1777, so that others can write to it; chmod o-w /,
      ],
    ] as const
  ) {
    using directory = new FalseState({ pid: victim.pid, ...options });
    await using _ = await locker(directory.lock, F_WRLCK, options.uid);
    const before = contentsOf(directory.path);
    for (const args of directory.acts) {
      const { code, stderr } = await bounded(args);
      assertEquals(code, 1, `${args.join(" ")}: ${stderr}`);
      assertMatch(stderr, problem);
      assertStringIncludes(stderr, "--state-dir");
      assertEquals(contentsOf(directory.path), before, args.join(" "));
    }
  }
  assert(isRunning(victim.pid));
});

Deno.test("a parent directory that others can write to is not trusted either", async () => {
  await using victim = await Script.start(READY);
  for (
    const change of [
      (path: string) => Deno.chmodSync(path, 0o777),
      (path: string) => Deno.chownSync(path, NOBODY, NOBODY),
    ]
  ) {
    using directory = new FalseState({ pid: victim.pid, uid: 0 });
    await using _ = await locker(directory.lock, F_WRLCK, 0);
    change(directory.place.folder);
    for (const args of directory.acts.slice(0, 2)) {
      const { code, stderr } = await bounded(args);
      assertEquals(code, 1, stderr);
      assertStringIncludes(stderr, `the directory ${directory.place.folder} `);
    }
  }
  assert(isRunning(victim.pid));
});

Deno.test("a signal goes only to the process that holds the lock and is named in the state", async () => {
  await using victim = await Script.start(READY);
  await using holder = await Script.start(READY);
  using directory = new FalseState({ pid: victim.pid, uid: 0 });
  const expect = async (message: string | RegExp) => {
    for (const args of directory.acts.slice(0, 2)) {
      const { code, stderr } = await bounded(args);
      assertEquals(code, 1, stderr);
      assertMatch(stderr, new RegExp(message));
      assert(!contentsOf(directory.path).join().includes("overrides"));
    }
  };
  // No process holds the lock.
  await expect("just ended");
  {
    await using other = await locker(directory.lock, F_WRLCK, 0);
    await expect(
      `process ${other.pid} holds the lock .* names process ${victim.pid}`,
    );
  }
  // Another process now has the pid.
  const path = `${directory.path}/state.json`;
  const state = JSON.parse(Deno.readTextFileSync(path));
  Deno.writeTextFileSync(path, JSON.stringify({ ...state, startTime: 1 }));
  await expect("not running");
  assert(isRunning(victim.pid) && isRunning(holder.pid));
});

Deno.test("set creates nothing through a link, whoever made it", async () => {
  for (const uid of [0, NOBODY]) {
    using place = new Place();
    const target = `${place.folder}/target`;
    Deno.mkdirSync(target);
    await using daemon = await TestDaemon.start({ place, config: HARMLESS });
    Deno.symlinkSync(target, `${place.state}/overrides`);
    await run("chown", "-h", `${uid}`, `${place.state}/overrides`);
    const { code, stderr } = await bounded([
      "set",
      "one",
      "1M",
      ...place.stateArgs,
    ]);
    assertEquals(code, 1, stderr);
    assertMatch(stderr, /the symbolic link .*overrides is not followed/);
    assertEquals([...Deno.readDirSync(target)], []);
    assertEquals((await daemon.stop()).code, 0);
    assertEquals([...Deno.readDirSync(target)], []);
  }
});

Deno.test("run deletes nothing in the directory that a link leads to", async () => {
  using place = new Place();
  const target = `${place.folder}/target`;
  Deno.mkdirSync(`${target}/overrides`, { recursive: true });
  for (const name of ["state.json", "overrides/one", "lock"]) {
    Deno.writeTextFileSync(`${target}/${name}`, "precious");
  }
  const before = contentsOf(target);
  Deno.writeTextFileSync(place.config, HARMLESS);
  for (const uid of [0, NOBODY]) {
    Deno.symlinkSync(target, place.state);
    await run("chown", "-h", `${uid}`, place.state);
    for (const once of [["--once"], []]) {
      const { code, stderr } = await bounded(
        ["run", ...once, "--config", place.config, ...place.stateArgs],
      );
      assertEquals(code, 1, stderr);
      assertMatch(stderr, /symbolic link .*state is not followed.*--state-dir/);
    }
    Deno.removeSync(place.state);
    // Nor in the target of a link inside it: the link itself is deleted.
    Deno.mkdirSync(place.state);
    Deno.symlinkSync(`${target}/overrides`, `${place.state}/overrides`);
    const once = await bounded(
      ["run", "--once", "--config", place.config, ...place.stateArgs],
    );
    assertEquals(once.code, 0, once.stderr);
    Deno.removeSync(place.state, { recursive: true });
  }
  assertEquals(contentsOf(target), before);
});

/** What can be in the place of a file. */
const NO_FILES: Record<string, (path: string) => Promise<void> | void> = {
  pipe: (path) => run("mkfifo", path),
  device: (path) => run("mknod", path, "c", "1", "5"),
  directory: (path) => Deno.mkdirSync(path),
  link: (path) => Deno.symlinkSync("/etc/passwd", path),
  "huge file": (path) => run("truncate", "-s", "1T", path),
};

for (const [kind, make] of Object.entries(NO_FILES)) {
  for (const uid of [0, NOBODY]) {
    Deno.test(`in a directory of uid ${uid}, a ${kind} in the place of any file blocks no command`, async () => {
      using place = new Place();
      Deno.writeTextFileSync(place.config, HARMLESS);
      Deno.mkdirSync(place.state);
      for (const name of ["lock", "state.json", "overrides"]) {
        await make(`${place.state}/${name}`);
      }
      await run("chown", "-hR", `${uid}`, place.state);
      const commands = [
        ["stat", "1", "1"],
        ["set", "one", "1M"],
        ["reload"],
        // Large files are locked like any other.
        ...kind === "huge file" ? [] : [["run", "--config", place.config]],
      ];
      for (const args of commands) {
        const { code, stdout, stderr } = await bounded(
          [...args, ...place.stateArgs],
        );
        assertEquals([code, stdout], [1, ""], `${args}: ${stderr}`);
        assertStringIncludes(stderr, place.state);
        assert(!stderr.includes("root:"), "tells nothing of other files");
      }
    });
  }
}

Deno.test("stat names the user whose state it shows, and inconsistencies", async () => {
  await using theirs = await Script.start(READY, { uid: NOBODY });
  using directory = new FalseState({ pid: theirs.pid });
  const stat = () => bounded(["stat", "1", "1", ...directory.place.stateArgs]);
  const { code, stdout, stderr } = await stat();
  assertEquals(code, 0, stderr);
  assertStringIncludes(stdout, "one");
  assertMatch(
    stderr,
    /may be wrong, since the directory .* belongs to uid 65534/,
  );
  // For that user, their own daemon is as trusted as root's.
  const own = await bounded(
    ["stat", "1", "1", ...directory.place.stateArgs],
    { uid: NOBODY },
  );
  assertEquals([own.code, own.stderr], [0, ""]);
  // They cannot show a file of root by linking it there.
  const path = `${directory.path}/state.json`;
  const secret = `${directory.place.folder}/secret`;
  Deno.copyFileSync(path, secret);
  Deno.removeSync(path);
  Deno.linkSync(secret, path);
  const linked = await stat();
  assertEquals(linked.code, 1);
  assertMatch(linked.stderr, /has 2 hard links/);
  Deno.removeSync(path);
  const huge = { ...groupState(), rss: 1e298 };
  for (
    const [text, problem] of [
      ...["", "{", "\0"].map((text) => [text, "it is not JSON"]),
      ["[]", "it has no version"],
      ['{"version":1}', "in version 1 of its format"],
      ['{"version":2}', "it has no pid"],
      [
        JSON.stringify({
          ...JSON.parse(Deno.readTextFileSync(secret)),
          groups: [huge],
        }),
        "groups.0.rss is 1e+298, not <=9007199254740991",
      ],
    ]
  ) {
    Deno.writeTextFileSync(path, text);
    Deno.chownSync(path, NOBODY, NOBODY);
    const wrong = await stat();
    assertEquals([wrong.code, wrong.stdout], [1, ""], text);
    assertStringIncludes(
      wrong.stderr,
      `${path} is not a state that this version of rcap reads (`,
    );
    assertStringIncludes(wrong.stderr, problem);
  }
});

Deno.test("another user's lock neither blocks a daemon nor passes for one", async () => {
  using place = new Place();
  Deno.mkdirSync(place.state);
  const lock = `${place.state}/lock`;
  // Like earlier versions left it.
  Deno.writeTextFileSync(lock, "");
  Deno.chmodSync(lock, 0o644);
  await using _reader = await locker(lock, F_RDLCK);
  const stat = await bounded(["stat", "1", "1", ...place.stateArgs]);
  assertMatch(stat.stderr, /rcap is not running/);
  await using daemon = await TestDaemon.start({ place, config: HARMLESS });
  assertEquals(Deno.statSync(lock).mode! & 0o777, 0o600);
  const second = await bounded(
    ["run", "--config", place.config, ...place.stateArgs],
  );
  assertEquals(second.code, 1);
  assertStringIncludes(
    second.stderr,
    `is already running as process ${daemon.pid}`,
  );
  const nobody = await bounded(["stat", "1", "1", ...place.stateArgs], {
    uid: NOBODY,
  });
  assertEquals([nobody.code, nobody.stderr], [0, ""]);
});

Deno.test("a lock file that others can write to is not a lock", async () => {
  using place = new Place();
  Deno.mkdirSync(place.state);
  Deno.writeTextFileSync(place.config, HARMLESS);
  const lock = `${place.state}/lock`;
  Deno.writeTextFileSync(lock, "");
  for (
    const [uid, mode, problem] of [
      [NOBODY, 0o600, /lock belongs to uid 65534; chown root /],
      [0, 0o666, /lock has mode 666, .*; chmod o-w /],
    ] as const
  ) {
    Deno.chownSync(lock, uid, uid);
    Deno.chmodSync(lock, mode);
    await using _ = await locker(lock, F_WRLCK);
    const { code, stderr } = await bounded(
      ["run", "--config", place.config, ...place.stateArgs],
    );
    assertEquals(code, 1, stderr);
    assertMatch(stderr, problem);
  }
});

Deno.test("the files of a killed daemon are stale for every command, and the next daemon removes them", async () => {
  using place = new Place();
  {
    await using daemon = await TestDaemon.start({ place, config: HARMLESS });
    const set = await bounded(["set", "one", "2G", ...place.stateArgs]);
    assertEquals(set.code, 0, set.stderr);
    daemon.signal("SIGKILL");
    await daemon.ended;
  }
  // Files of work that it may have been doing.
  for (
    const name of ["state.json~", "lock~4711", "overrides/one~4711"]
  ) Deno.writeTextFileSync(`${place.state}/${name}`, "{");
  assertEquals([...Deno.readDirSync(place.state)].length, 5);
  for (const uid of [undefined, NOBODY]) {
    for (const args of [["stat", "1", "1"], ["set", "one", "1G"], ["reload"]]) {
      const { code, stderr } = await bounded([...args, ...place.stateArgs], {
        uid,
      });
      assertEquals(code, 1, stderr);
      assertStringIncludes(stderr, "rcap is not running");
    }
  }
  await using next = await TestDaemon.start({ place, config: HARMLESS });
  assertEquals(next.group("one").cap, 2 ** 30);
  assertEquals(
    [...Deno.readDirSync(place.state)].map(({ name }) => name)
      .filter((name) => name !== "state.json~").sort(),
    ["lock", "state.json"],
  );
});

Deno.test("a daemon in another pid namespace is shown, and not signalled", async () => {
  const inNamespace = [
    "unshare",
    "--pid",
    "--fork",
    "--mount-proc",
    "--kill-child",
  ];
  // The daemon runs there, the commands here.
  {
    using place = new Place();
    await using daemon = TestDaemon.startOnly({
      place,
      config: HARMLESS,
      prefix: inNamespace,
    });
    await until(() => daemon.stateIfAny() !== undefined, "its state");
    const stat = await bounded(["stat", "1", "1", ...place.stateArgs]);
    assertEquals([stat.code, stat.stderr], [0, ""]);
    await assertRefused(place);
    daemon.signal("SIGKILL");
    await daemon.ended;
  }
  // The reverse, where its pid is unknown.
  using place = new Place();
  await using daemon = await TestDaemon.start({ place, config: HARMLESS });
  const prefix = ["timeout", "-s", "KILL", "30", ...inNamespace];
  const stat = await rcap(["stat", "1", "1", ...place.stateArgs], { prefix });
  assertEquals([stat.code, stat.stderr], [0, ""]);
  await assertRefused(place, prefix);
  const second = await rcap(
    ["run", "--config", place.config, ...place.stateArgs],
    { prefix },
  );
  assertEquals(second.code, 1);
  assertMatch(second.stderr, /is already running in another pid namespace/);
  assert(isRunning(daemon.pid));
});

async function assertRefused(
  place: Place,
  prefix = ["timeout", "-s", "KILL", "30"],
): Promise<void> {
  for (const args of [["set", "one", "1M"], ["reload"]]) {
    const { code, stderr } = await rcap([...args, ...place.stateArgs], {
      prefix,
    });
    assertEquals(code, 1, stderr);
    assertStringIncludes(stderr, "another pid namespace");
  }
  assertEquals(
    [...Deno.readDirSync(place.state)].filter(({ name }) =>
      name === "overrides"
    ),
    [],
  );
}

Deno.test("a file that is not a valid override is reported once and ends nothing", async () => {
  using place = new Place();
  await using daemon = await TestDaemon.start({ place, config: HARMLESS });
  const overrides = `${place.state}/overrides`;
  Deno.mkdirSync(`${overrides}/two`, { recursive: true });
  for (const [kind, make] of Object.entries(NO_FILES)) {
    if (kind !== "huge file") await make(`${overrides}/${kind}`);
  }
  Deno.writeTextFileSync(`${overrides}/text`, "lots\n");
  Deno.writeTextFileSync(`${overrides}/%zz`, "1\n");
  Deno.writeTextFileSync(`${overrides}/long`, "1".repeat(1000));
  for (const [size, bytes] of [["2G", 2 ** 31], ["3G", 3 * 2 ** 30]] as const) {
    const { code, stderr } = await bounded([
      "set",
      "one",
      size,
      ...place.stateArgs,
    ]);
    assertEquals(code, 0, stderr);
    assertEquals(daemon.group("one").cap, bytes);
  }
  const { code, stderr } = await daemon.stop();
  assertEquals(code, 0, stderr);
  for (
    const name of ["two", "pipe", "device", "directory", "link", "text", "long"]
  ) {
    const told = stderr.split("\n").filter((line) =>
      line.includes(`${overrides}/${name} is not a cap`)
    );
    assertEquals(told.length, 1, `${name}: ${stderr}`);
  }
  assertEquals(
    [...Deno.readDirSync(overrides)].map(({ name }) => name).sort(),
    ["directory", "two"],
  );
});

Deno.test("a file system that never answers blocks no command, and is not trusted", async () => {
  using place = new Place();
  const mount = `${place.folder}/mount`;
  Deno.mkdirSync(mount);
  Deno.chownSync(mount, NOBODY, NOBODY);
  // Nothing reads from the connection, so every request waits forever.
  const options =
    `fd=3,rootmode=40755,user_id=${NOBODY},group_id=${NOBODY},allow_other`;
  const server = new Deno.Command("bash", {
    args: [
      "-c",
      `exec 3<>/dev/fuse && mount -i -t fuse -o "$1" theirs "$2" && echo ready && exec sleep 600`,
      "bash",
      options,
      mount,
    ],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const reader = server.stdout.getReader();
  try {
    const { value } = await reader.read();
    assertEquals(new TextDecoder().decode(value), "ready\n");
    Deno.writeTextFileSync(place.config, HARMLESS);
    for (
      const args of [
        ["stat", "1", "1", "--state-dir", `${mount}/state`],
        ["stat", "1", "1", "--state-dir", mount],
        ["reload", "--state-dir", mount],
        ["set", "one", "1M", "--state-dir", `${mount}/state`],
        ["run", "--config", place.config, "--state-dir", `${mount}/state`],
        ["check", "--config", `${mount}/rcap.toml`],
        ["run", "--config", `${mount}/rcap.toml`, ...place.stateArgs],
      ]
    ) {
      const { code, stderr } = await bounded(args);
      const isAboutConfig = args.includes(`${mount}/rcap.toml`);
      assertEquals(code, isAboutConfig ? 2 : 1, `${args.join(" ")}: ${stderr}`);
      assertMatch(stderr, /a program of uid 65534 serves/);
    }
  } finally {
    await reader.cancel();
    server.kill("SIGKILL");
    await server.status;
    await run("umount", "-l", mount);
  }
});
