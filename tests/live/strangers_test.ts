/**
 * Tests of which processes selectors match, and that no process can pretend to
 * match, or prevent rcap from finding out.
 *
 * @module
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { File } from "../../ffi/file.ts";
import { libc } from "../../ffi/libc.ts";
import { selectProcesses } from "../../lib/collection/members.ts";
import { parseArguments } from "../../lib/collection/selectors.ts";
import { NoMatch } from "../../lib/errors.ts";
import { openPlatform, system } from "../../lib/platform/system_testing.ts";
import type { Platform } from "../../lib/platform/platform.ts";
import { Cgroup, cgroupMounts, uniqueWord } from "../support/cgroups.ts";
import { requireRoot, scanJson } from "../support/live.ts";
import { rcap } from "../support/rcap.ts";
import { isRunning, until, Workload } from "../support/workload.ts";

requireRoot();
libc();

/** A user that need not exist. */
const SOMEONE = 54_337;

/** Time limit of every step, in milliseconds; it usually takes a hundredth of that. */
const DEADLINE = 60_000;

/** The pids that selectors match, and the messages about others. */
async function select(platform: Platform, ...selectors: string[]) {
  try {
    const { processes, problems } = await selectProcesses(
      await parseArguments(selectors, system),
      platform,
    );
    return { pids: processes.map(({ pid }) => pid), problems };
  } catch (error) {
    if (!(error instanceof NoMatch)) throw error;
    return { pids: [], problems: [error.message] };
  }
}

/** Asserts which of some processes selectors match. */
async function assertSelects(
  selectors: string[],
  members: { pid: number }[],
  others: { pid: number }[] = [],
): Promise<void> {
  using platform = openPlatform("smaps", () => {});
  const { pids } = await select(platform, ...selectors);
  const known = [...members, ...others].map(({ pid }) => pid);
  assertEquals(
    pids.filter((pid) => known.includes(pid)),
    members.map(({ pid }) => pid).sort((a, b) => a - b),
    selectors.join(" "),
  );
}

/** A directory for programs that everyone may enter; removed on disposal. */
class Programs implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "rcap-strangers-" });

  constructor() {
    Deno.chmodSync(this.path, 0o755);
  }

  /** A program that sleeps. */
  add(name: string): string {
    const path = `${this.path}/${name}`;
    Deno.mkdirSync(path.replace(/\/[^/]*$/, ""), { recursive: true });
    Deno.copyFileSync("/bin/sleep", path);
    Deno.chmodSync(path, 0o755);
    return path;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** A process; killed on disposal or after the deadline. */
class Running implements AsyncDisposable {
  readonly pid: number;
  readonly #child: Deno.ChildProcess;
  readonly #timer: number;
  #hasEnded = false;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.pid = child.pid;
    this.#timer = setTimeout(() => this.#kill(), DEADLINE);
    child.status.then(() => this.#hasEnded = true);
  }

  /**
   * Runs a command, and waits until the path of the process's program has the
   * expected ending.
   */
  static async start(
    [program, ...args]: string[],
    { until: end, uid }: { until: string; uid?: number },
  ): Promise<Running> {
    const child = new Deno.Command(program, {
      args,
      uid,
      gid: uid,
      stdin: "null",
      stdout: "null",
    }).spawn();
    const running = new Running(child);
    await until(() => running.#hasEnded || running.program.endsWith(end), end);
    assert(!running.#hasEnded, `${program} ${args.join(" ")} has ended`);
    return running;
  }

  /** The path of its program, from the kernel. */
  get program(): string {
    try {
      using directory = File.openPlace(`/proc/${this.pid}`);
      return directory.readLinkAt("exe");
    } catch {
      return "";
    }
  }

  #kill(): void {
    if (!this.#hasEnded && isRunning(this.pid)) this.#child.kill("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#kill();
    clearTimeout(this.#timer);
    await this.#child.status;
  }
}

/** Runs a program. */
function run(path: string): Promise<Running> {
  return Running.start([path, "600"], { until: path });
}

/**
 * Runs a program in its own mount namespace, after a shell script has made the
 * mounts; `$1` and so on are the script's arguments.
 */
function runArranged(
  script: string,
  args: string[],
  { path, uid, ends = path }: { path: string; uid?: number; ends?: string },
): Promise<Running> {
  const own = uid === undefined ? [] : ["--user", "--map-root-user"];
  return Running.start([
    "unshare",
    ...own,
    "--mount",
    "sh",
    "-ec",
    `${script}\nexec "$0" 600`,
    path,
    ...args,
  ], { until: ends, uid });
}

Deno.test("exe: matches the program that the machine has at a path", async () => {
  using programs = new Programs();
  const path = programs.add("opt/server");
  const other = programs.add("other/server");
  const [folder, otherFolder] = [path, other].map((one) =>
    one.replace(/\/server$/, "")
  );
  await using real = await run(path);
  // A service with its own mount namespace runs the same file.
  await using sandboxed = await runArranged("", [], { path });
  await using bound = await runArranged(
    'mount --bind "$1" "$1"',
    [folder],
    { path },
  );
  // In a container, another file has that path.
  await using container = await runArranged(
    'mount --bind "$2" "$1"',
    [folder, otherFolder],
    { path },
  );
  await using memory = await runArranged(
    'mount -t tmpfs none "$1"; cp /bin/sleep "$0"',
    [folder],
    { path },
  );
  await using stranger = await runArranged(
    'mount --bind "$2" "$1"',
    [folder, otherFolder],
    { path, uid: SOMEONE },
  );
  const strangers = [container, memory, stranger];
  for (const { program } of strangers) assertEquals(program, path);

  const members = [real, sandboxed, bound];
  await assertSelects([`exe:${path}`], members, strangers);
  await assertSelects([`exe:${folder}/*`], members, strangers);
  // A path that leads nowhere matches no process.
  const { report } = await scanJson([
    ...[`exe:${path}`, "--dry-run", "--cap", "1P"],
  ]);
  assertEquals(
    report.processes.map(({ pid }) => pid),
    members.map(({ pid }) => pid).sort((a, b) => a - b),
  );
});

Deno.test("a deleted program matches by its path, and a lookalike does not", async () => {
  using programs = new Programs();
  const path = programs.add("opt/server");
  const literal = programs.add("opt/server (deleted)");
  const folder = `${programs.path}/opt`;
  const mine = programs.add("mine/server").replace(/\/server$/, "");
  Deno.chownSync(mine, SOMEONE, SOMEONE);
  Deno.chownSync(`${mine}/server`, SOMEONE, SOMEONE);

  await using upgraded = await run(path);
  await using sandboxed = await runArranged("", [], { path });
  await using named = await Running.start([literal, "600"], { until: literal });
  const gone = `${path} (deleted)`;
  // A file on another device.
  await using memory = await runArranged(
    'mount -t tmpfs none "$1"; cp /bin/sleep "$0"; "$0" 600 & sleep 0; exec 3<"$0"; rm "$0"; exec /proc/self/fd/3 600',
    [folder],
    { path, ends: gone },
  );
  // On the same device, by a user who can arrange any paths.
  await using stranger = await runArranged(
    'mount --bind "$2" "$1"; exec 3<"$0"; rm "$0"; exec /proc/self/fd/3 600',
    [folder, mine],
    { path, ends: gone, uid: SOMEONE },
  );
  const others = [named, memory, stranger];
  Deno.removeSync(path);
  assertEquals(upgraded.program, gone);
  await assertSelects([`exe:${path}`], [upgraded, sandboxed], others);
  await assertSelects([`exe:${folder}/serve?`], [upgraded, sandboxed], others);
  await assertSelects([`exe:${literal}`], [named], [
    upgraded,
    ...others.slice(1),
  ]);

  // The new version is another file; both match.
  Deno.copyFileSync("/bin/sleep", path);
  await using renewed = await run(path);
  await assertSelects([`exe:${path}`], [upgraded, sandboxed, renewed], others);
});

Deno.test("a program whose name ends as those of deleted ones do is known by that name", async () => {
  using programs = new Programs();
  const path = programs.add("opt/server");
  const literal = programs.add("opt/server (deleted)");
  const twice = `${literal} (deleted)`;
  await using named = await Running.start([literal, "600"], { until: literal });
  await assertSelects([`exe:${literal}`], [named]);
  await assertSelects([`exe:${path}`, `exe:${twice}`], [], [named]);

  // Its own name, and the kernel's mark.
  Deno.removeSync(literal);
  assertEquals(named.program, twice);
  await assertSelects([`exe:${literal}`], [named]);
  await assertSelects([`exe:${path}`, `exe:${twice}`], [], [named]);

  // Another name of the file does not matter.
  const linked = programs.add("opt/linked");
  Deno.linkSync(linked, `${programs.path}/other`);
  await using link = await run(linked);
  Deno.removeSync(linked);
  await assertSelects([`exe:${linked}`], [link]);
  await assertSelects([`exe:${programs.path}/other`], [], [link]);
});

Deno.test("on a file system that is not asked, only a file without names counts as deleted", async () => {
  using programs = new Programs();
  const folder = `${programs.path}/fuse`;
  Deno.mkdirSync(folder);
  const path = `${folder}/prog`;
  const literal = `${path} (deleted)`;
  await using _server = await FuseServer.start(folder, "/bin/sleep");
  await using gone = await run(path);
  Deno.removeSync(path);
  assertEquals(gone.program, literal);
  await using named = await Running.start([literal, "600"], { until: literal });

  using platform = openPlatform("smaps", () => {});
  const { pids, problems } = await select(platform, `exe:${path}`);
  assertEquals(pids, [gone.pid]);
  assertEquals(problems, [
    `it is not known whether process ${named.pid} (prog (deleted)) runs the program at ${literal} (it is on a FUSE file system, which is not asked)`,
  ]);
});

Deno.test("a program's path need not be UTF-8", async () => {
  using programs = new Programs();
  const path = programs.add("x");
  await using running = await Running.start([
    "sh",
    "-ec",
    'f="$1/caf$(printf "\\\\351")"; mv "$1/x" "$f"; exec "$f" 600',
    "sh",
    programs.path,
  ], { until: "caf\ufffd" });
  assert(!running.program.endsWith(path));
  await assertSelects([`exe:${programs.path}/caf?`], [running]);
  await assertSelects([`exe:${programs.path}/x`], [], [running]);
});

/** A FUSE file system that stops answering; ended and unmounted on disposal. */
class FuseServer implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #directory: string;
  readonly #timer: number;
  #said = "";

  private constructor(directory: string, file: string[]) {
    this.#directory = directory;
    this.#child = new Deno.Command("perl", {
      args: [
        new URL("../fixtures/fuse_server.pl", import.meta.url).pathname,
        directory,
        ...file,
      ],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#timer = setTimeout(() => this.#end(), DEADLINE);
    this.#listen();
  }

  static async start(directory: string, ...file: string[]) {
    const server = new FuseServer(directory, file);
    await until(() => server.#said.startsWith("ready\n"), "FUSE to be served");
    return server;
  }

  async #listen(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const bytes of this.#child.stdout) {
      this.#said += decoder.decode(bytes);
    }
  }

  /** Makes it stop answering. */
  async hush(): Promise<void> {
    const writer = this.#child.stdin.getWriter();
    await writer.write(new TextEncoder().encode("hush\n"));
    writer.releaseLock();
    await until(() => this.#said.includes("hushed\n"), "FUSE to be silent");
  }

  /** Its unanswered requests. */
  get unanswered(): string[] {
    return this.#said.split("\n").filter((word) =>
      /^[A-Z]|^request/.test(word)
    );
  }

  #end(): void {
    if (isRunning(this.#child.pid)) this.#child.kill("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end();
    clearTimeout(this.#timer);
    await this.#child.status;
    await this.#child.stdin.close().catch(() => {});
    await new Deno.Command("umount", { args: ["-l", this.#directory] })
      .output();
  }
}

Deno.test("no FUSE server is asked about the program of a process", async () => {
  using programs = new Programs();
  const folder = `${programs.path}/mount`;
  Deno.mkdirSync(folder);
  const path = `${folder}/prog`;
  const plain = programs.add("plain");
  await using server = await FuseServer.start(folder);
  await using honest = await run(plain);
  // The process sees its own file there; on the machine, a silent server is at that
  // path.
  const crowd: Running[] = [];
  await using _crowd = {
    async [Symbol.asyncDispose]() {
      for (const one of crowd) await one[Symbol.asyncDispose]();
    },
  };
  for (let count = 0; count < 6; count++) {
    crowd.push(
      await runArranged(
        'mount -t tmpfs none "$1"; cp /bin/sleep "$0"',
        [folder],
        { path },
      ),
    );
  }
  const began = performance.now();
  await assertSelects([`exe:${programs.path}/*`], [honest], crowd);
  assert(performance.now() - began < DEADLINE / 2);
  assertEquals(server.unanswered, []);
});

Deno.test("a program on a silent FUSE file system is recognized by its mount", async () => {
  using programs = new Programs();
  const folder = `${programs.path}/mount`;
  Deno.mkdirSync(folder);
  const path = `${folder}/prog`;
  await using server = await FuseServer.start(folder, "/bin/sleep");
  await using machine = await run(path);
  await using sandboxed = await runArranged("", [], { path });
  await server.hush();

  using platform = openPlatform("smaps", () => {});
  const { pids, problems } = await select(
    platform,
    `exe:${programs.path}/*`,
    `${machine.pid}`,
  );
  assertEquals(pids, [machine.pid]);
  assertEquals(problems, [
    `it is not known whether process ${sandboxed.pid} (prog) runs the program at ${path} (it is on a FUSE file system, which is not asked)`,
  ]);
  await assertSelects([`exe:${path}`], [machine], [sandboxed]);
  assertEquals(server.unanswered, []);

  // It is reported along with the other matches, and does not delay them.
  const { code, stderr } = await rcap([
    ...["scan", `exe:${path}`, "--dry-run", "--cap", "1P"],
  ]);
  assertEquals(code, 0, stderr);
  assert(stderr.includes(`process ${sandboxed.pid} (prog)`), stderr);
});

/** Mounts of the hierarchies that systemd could use: cgroups(7). */
function systemdMounts(): string[] {
  return cgroupMounts().filter(({ version, options }) =>
    version === 2 || options.includes("name=systemd")
  ).map(({ path }) => path);
}

/** A mount of a version 1 hierarchy that is not systemd's. */
function controllerMount(): string | undefined {
  // A cpuset accepts no process before it has processors.
  return cgroupMounts().find(({ version, options }) =>
    version === 1 && !/name=|cpuset/.test(options.join())
  )?.path;
}

Deno.test("unit: matches systemd's unit", async () => {
  const mounts = systemdMounts();
  assert(
    mounts.length > 0,
    "mount a hierarchy of cgroups that systemd could have",
  );
  for (const mount of mounts) {
    const word = uniqueWord();
    const slice = `${word}.slice`;
    const manager = `${slice}/user@${SOMEONE}.service`;
    await using service = new Cgroup(mount, `${slice}/${word}.service`);
    await using worker = new Cgroup(mount, `${slice}/${word}.service/worker`);
    await using own = new Cgroup(mount, `${manager}/app.slice/${word}.service`);
    await using init = new Cgroup(mount, `${manager}/init.scope`);
    await using nested = new Cgroup(
      mount,
      `${slice}/docker-1.scope/system.slice/${word}.service`,
    );
    await using unmanaged = new Cgroup(mount, `${word}/${word}.service`);
    const processes = [];
    await using stack = new AsyncDisposableStack();
    for (const cgroup of [service, worker, own, init, nested, unmanaged]) {
      const workload = stack.use(await Workload.start());
      cgroup.put(workload);
      processes.push(workload);
    }
    const [inService, inWorker, inOwn, inInit, inNested] = processes;
    const cases: [selector: string, members: { pid: number }[]][] = [
      [`unit:${word}`, [inService, inWorker]],
      [`unit:${slice}`, processes.slice(0, -1)],
      [`unit:user@${SOMEONE}`, [inOwn, inInit]],
      [`unit:user@${SOMEONE}.service`, [inOwn, inInit]],
      [`unit:user@${SOMEONE}/${word}`, [inOwn]],
      [`unit:user@${SOMEONE}/app.slice`, [inOwn]],
      [`unit:docker-1.scope`, [inNested]],
      [`unit:app.slice`, []],
    ];
    for (const [selector, members] of cases) {
      const others = processes.filter((one) => !members.includes(one));
      await assertSelects([selector], members, others);
    }
    await stack.disposeAsync();
  }
});

Deno.test("units are found by globs, and by names that systemd escapes", async () => {
  for (const mount of systemdMounts()) {
    const word = uniqueWord();
    const slice = `${word}.slice`;
    // The cgroup of memory.WORD.service, and one that is of no unit.
    await using escaped = new Cgroup(mount, `${slice}/_memory.${word}.service`);
    await using plain = new Cgroup(mount, `${slice}/${word}@1.service`);
    await using scope = new Cgroup(mount, `${slice}/${word}@1.scope`);
    await using none = new Cgroup(mount, `${slice}/${word}@.service`);
    const processes = [];
    await using stack = new AsyncDisposableStack();
    for (const cgroup of [escaped, plain, scope, none]) {
      const workload = stack.use(await Workload.start());
      cgroup.put(workload);
      processes.push(workload);
    }
    const [inEscaped, inPlain, inScope] = processes;
    const cases: [selector: string, members: { pid: number }[]][] = [
      [`unit:memory.${word}`, [inEscaped]],
      [`unit:_memory.${word}`, []],
      [`unit:memory.${word}.*`, [inEscaped]],
      [`unit:${word}@*`, [inPlain, inScope]],
      [`unit:${word}@?.service`, [inPlain]],
      [`unit:*${word}*.service`, [inEscaped, inPlain]],
      [`unit:${word}.s[!c]*`, processes],
    ];
    for (const [selector, members] of cases) {
      const others = processes.filter((one) => !members.includes(one));
      await assertSelects([selector], members, others);
    }
    await stack.disposeAsync();
  }
});

Deno.test("a cgroup is found whatever its name ends in", async () => {
  for (const mount of [...systemdMounts(), controllerMount() ?? []].flat()) {
    const word = uniqueWord();
    // The kernel allows no line feed in the name of a cgroup: `cgroup_mkdir` of
    // kernel/cgroup/cgroup.c. It ends a line for each cgroup of a process.
    assertThrows(
      () => Deno.mkdirSync(`${mount}/${word}\n`),
      Error,
      "os error 22",
    );
    for (const end of [" ", "\t ", "\r", "\u00a0", ":", " (deleted)"]) {
      await using cgroup = new Cgroup(mount, `${word}${end}`);
      await using below = new Cgroup(mount, `${word}${end}/below`);
      await using workload = await Workload.start();
      await using inner = await Workload.start();
      cgroup.put(workload);
      below.put(inner);
      await assertSelects([`cgroup:/${word}${end}`], [workload], [inner]);
      await assertSelects([`cgroup:/${word}${end}/*`], [inner], [workload]);
      await assertSelects([`cgroup:/${word}`], [], [workload, inner]);
      await workload[Symbol.asyncDispose]();
      await inner[Symbol.asyncDispose]();
    }
  }
});

Deno.test({
  name: "unit: ignores cgroup names in controller hierarchies",
  ignore: controllerMount() === undefined, // There is only version 2 then.
  async fn() {
    const word = uniqueWord();
    await using cgroup = new Cgroup(
      controllerMount() ?? "",
      `${word}.slice/${word}.service`,
    );
    await using workload = await Workload.start();
    cgroup.put(workload);
    await assertSelects([`unit:${word}`], [], [workload]);
    await assertSelects([`cgroup:*/${word}.service`], [workload]);
    await workload[Symbol.asyncDispose]();
  },
});

Deno.test("joined selectors must all match", async () => {
  await using one = await Workload.start({ uid: SOMEONE, name: "a + b" });
  await using two = await Workload.start({ uid: SOMEONE });
  await using three = await Workload.start({ name: "a + b" });
  await assertSelects(["comm:a + b", "+", `user:${SOMEONE}`], [one], [
    two,
    three,
  ]);
  await assertSelects(["comm:a + b"], [one, three], [two]);
  await assertSelects(
    [`user:${SOMEONE}`, "+", "comm:perl", `pid:${three.pid}`],
    [two, three],
    [one],
  );
  await assertSelects(
    [`pid:${one.pid}`, "+", `user:${SOMEONE + 1}`],
    [],
    [one],
  );
});

const calls = Deno.dlopen("libc.so.6", {
  setxattr: {
    parameters: ["buffer", "buffer", "buffer", "usize", "i32"],
    result: "i32",
  },
}).symbols;

/** Sets the attribute that makes rcap leave a cgroup's processes alone. */
function setAvoid(path: string, value = "1"): void {
  const cString = (text: string) => new TextEncoder().encode(`${text}\0`);
  const result = calls.setxattr(
    cString(path),
    cString("user.rcap.avoid"),
    cString(value),
    BigInt(value.length),
    0,
  );
  assertEquals(result, 0, `${path} takes an attribute`);
}

Deno.test("a cgroup's owner can have its processes left alone, and others cannot", async () => {
  for (const mount of systemdMounts()) {
    const word = uniqueWord();
    await using parent = new Cgroup(mount, word);
    await using child = new Cgroup(mount, `${word}/child`);
    await using open = new Cgroup(mount, `${word}-open`);
    await using workload = await Workload.start({ uid: SOMEONE });
    await using other = await Workload.start({ uid: SOMEONE + 1 });
    const both = [`${workload.pid}`, `${other.pid}`];
    child.put(workload);
    child.put(other);
    await assertSelects(both, [workload, other]);

    setAvoid(child.path);
    await assertSelects(both, [], [workload, other]);
    using platform = openPlatform("smaps", () => {});
    const { problems } = await select(platform, both[0]);
    assert(
      problems.join().includes(
        `process ${workload.pid} (perl) is left alone, as user.rcap.avoid of ${child.path} asks`,
      ),
      problems.join(),
    );
    setAvoid(child.path, "0");
    await assertSelects(both, [workload, other]);

    // All cgroups below one that is left alone are left alone, too.
    setAvoid(parent.path);
    await assertSelects(both, [], [workload, other]);
    setAvoid(parent.path, "no");

    // A user decides only about their own processes.
    setAvoid(child.path);
    Deno.chownSync(child.path, SOMEONE, SOMEONE);
    await assertSelects(both, [other], [workload]);

    // If others may write, the author of the attribute is unknown.
    open.put(workload);
    open.put(other);
    setAvoid(open.path);
    Deno.chmodSync(open.path, 0o777);
    await assertSelects(both, [workload, other]);
    Deno.chmodSync(open.path, 0o775);
    await assertSelects(both, [workload, other]);
    Deno.chmodSync(open.path, 0o755);
    await assertSelects(both, [], [workload, other]);

    // It is reported, whichever selector matches the process.
    const { code, stderr } = await rcap([
      ...["scan", both[0], "--dry-run", "--cap", "1P"],
    ]);
    assertEquals(code, 5, stderr);
    assert(stderr.includes("is left alone, as user.rcap.avoid of"), stderr);
    await workload[Symbol.asyncDispose]();
    await other[Symbol.asyncDispose]();
  }
});

Deno.test("outside rcap's cgroup namespace, no unit is known, and a message says so", async () => {
  const [mount] = systemdMounts();
  const word = uniqueWord();
  await using inner = new Cgroup(mount, `${word}.slice/${word}-inner.service`);
  await using outer = new Cgroup(mount, `${word}.slice/${word}.service`);
  await using workload = await Workload.start();
  outer.put(workload);
  const { stderr, code } = await rcap(
    ["scan", `unit:${word}`, `${workload.pid}`, "--dry-run", "--cap", "1P"],
    {
      prefix: [
        "sh",
        "-ec",
        'echo $$ > "$0/cgroup.procs"; exec unshare --cgroup "$@"',
        inner.path,
      ],
    },
  );
  assertEquals(code, 0, stderr);
  assert(
    stderr.includes(
      "it is not known to which units processes belong whose cgroups are outside of the cgroup namespace that rcap runs in; run rcap in that of the machine\n",
    ),
    stderr,
  );
  await workload[Symbol.asyncDispose]();
});

Deno.test("without free descriptors, no process is taken for a mismatch", async () => {
  using platform = openPlatform("smaps", () => {});
  await using workload = await Workload.start({ uid: SOMEONE });
  using _limit = withoutDescriptors();
  for (const selector of [`user:${SOMEONE}`, "exe:/*", "cgroup:*", "unit:a"]) {
    const selectors = await parseArguments([selector], system);
    await assertRejects(
      () => selectProcesses(selectors, platform),
      Error,
      "(EMFILE)",
    );
  }
  assert(isRunningWithout(workload.pid));
});

/** Whether a process exists, checked without a descriptor. */
function isRunningWithout(pid: number): boolean {
  Deno.kill(pid, "SIGCONT");
  return true;
}

/** Leaves no descriptor free until disposed: getrlimit(2). */
function withoutDescriptors(): Disposable {
  const limits = Deno.dlopen("libc.so.6", {
    getrlimit: { parameters: ["i32", "buffer"], result: "i32" },
    setrlimit: { parameters: ["i32", "buffer"], result: "i32" },
  });
  const RLIMIT_NOFILE = 7;
  const before = new BigUint64Array(2);
  assertEquals(limits.symbols.getrlimit(RLIMIT_NOFILE, before), 0);
  const now = BigUint64Array.of(0n, before[1]);
  assertEquals(limits.symbols.setrlimit(RLIMIT_NOFILE, now), 0);
  return {
    [Symbol.dispose]() {
      assertEquals(limits.symbols.setrlimit(RLIMIT_NOFILE, before), 0);
      limits.close();
    },
  };
}
