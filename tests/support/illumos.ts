/**
 * What the tests of the illumos platform share: the library that stands for
 * illumos on Linux, built from `fixtures/illumos.c`
 * and `illumos_files.c`, many small processes, and what
 * the library notes of grabs and releases.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { IllumosFiles } from "../../ffi/illumos_files.ts";
import { IllumosLibc } from "../../ffi/illumos_libc.ts";
import { VARIABLES } from "../../lib/platform/environment.ts";

const FIXTURES = new URL("../fixtures", import.meta.url).pathname;

const DRIVER = new URL("illumos_driver.ts", import.meta.url).pathname;

/** The path at which the library shows its directory of processes. */
const PROC = "/illumos-proc";

/** Builds a C file of the fixtures. */
async function build(source: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("cc", {
    args: [
      "-O2",
      "-Wall",
      "-Wextra",
      "-Werror",
      `${FIXTURES}/${source}`,
      ...args,
    ],
  }).output();
  assert(success, new TextDecoder().decode(stderr));
}

/** A period in which a process was controlled. Times are in milliseconds since 1970. */
export interface Stop {
  readonly pid: number;
  readonly from: number;
  readonly to: number;
}

/** The library, built into a folder that disposal removes. */
export class Illumos implements Disposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async build(): Promise<Illumos> {
    using held = new DisposableStack();
    const illumos = held.use(
      new Illumos(Deno.makeTempDirSync({ prefix: "rcap-" })),
    );
    // Users other than root need access.
    Deno.chmodSync(illumos.folder, 0o755);
    await build("illumos.c", [
      `${FIXTURES}/illumos_files.c`,
      "-shared",
      "-fPIC",
      "-fvisibility=hidden",
      "-o",
      illumos.library,
    ]);
    held.move();
    return illumos;
  }

  get library(): string {
    return `${this.folder}/illumos.so`;
  }

  /** The projects file. */
  get projects(): string {
    return `${this.folder}/project`;
  }

  /** A new file for the library's log. */
  newLog(): string {
    return Deno.makeTempFileSync({ dir: this.folder, suffix: ".log" });
  }

  /** The paths of the simulated system. */
  get paths() {
    const { library, projects } = this;
    return {
      libc: library,
      libproc: library,
      libsocket: library,
      proc: PROC,
      projects,
    };
  }

  /**
   * The environment in which rcap uses the simulated illumos.
   *
   * @param faults `NAME=VALUE,…`, as in `fixtures/illumos.c`.
   */
  env(
    { faults, log }: { faults?: string; log?: string } = {},
  ): Record<string, string> {
    const { libc, libproc, libsocket, proc, projects } = this.paths;
    return {
      [VARIABLES.platform]: "illumos",
      [VARIABLES.libc]: libc,
      [VARIABLES.libproc]: libproc,
      [VARIABLES.libsocket]: libsocket,
      [VARIABLES.proc]: proc,
      [VARIABLES.projects]: projects,
      ...faults === undefined ? {} : { RCAP_TEST_FAULTS: faults },
      ...log === undefined ? {} : { RCAP_TEST_LOG: log },
    };
  }

  /** Runs a mode of `illumos_driver.ts` and returns how it ended. */
  async drive(
    mode: string,
    task: { pids: readonly number[]; rounds?: number },
    { limit }: { limit?: number } = {},
  ): Promise<{ code: number; stdout: string; stderr: string }> {
    const { paths } = this;
    // Deno raises the limit of descriptors to the hard limit, so the hard limit is
    // lowered.
    const command = `${limit ? `ulimit -n ${limit}; ` : ""}exec "$@"`;
    const { code, stdout, stderr } = await new Deno.Command("sh", {
      args: [
        "-c",
        command,
        "sh",
        Deno.execPath(),
        "run",
        "--allow-all",
        DRIVER,
        mode,
        JSON.stringify({ paths, rounds: 1, ...task }),
      ],
      env: this.env(),
    }).output();
    const [out, err] = [stdout, stderr].map((bytes) =>
      new TextDecoder().decode(bytes)
    );
    return { code, stdout: out, stderr: err };
  }

  /** Runs a mode of `illumos_driver.ts` and returns what it printed. */
  async driven<T>(...args: Parameters<typeof this.drive>): Promise<T> {
    const { code, stdout, stderr } = await this.drive(...args);
    assertEquals(code, 0, stderr);
    return JSON.parse(stdout);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder, { recursive: true });
  }
}

/** The library, for all tests of a module. */
export async function illumosForTests(): Promise<Illumos> {
  const illumos = await Illumos.build();
  addEventListener("unload", () => illumos[Symbol.dispose]());
  return illumos;
}

/** The calls of illumos on the files of this machine. */
export async function illumosFiles(): Promise<IllumosFiles> {
  const { library } = await illumosForTests();
  return new IllumosFiles(library, new IllumosLibc(library));
}

/** What the library has noted: every time a process was controlled, up to now. */
export function stopsIn(log: string): Stop[] {
  const stops: Stop[] = [];
  const since = new Map<number, number>();
  for (const line of Deno.readTextFileSync(log).split("\n")) {
    const [what, pid, time] = line.split(" ");
    if (what === "grab") since.set(Number(pid), Number(time) / 1000);
    if (what !== "release") continue;
    const from = since.get(Number(pid));
    assert(from !== undefined, `process ${pid} was released and not grabbed`);
    since.delete(Number(pid));
    stops.push({ pid: Number(pid), from, to: Number(time) / 1000 });
  }
  assertEquals([...since.keys()], [], "every grabbed process is released");
  return stops;
}

/** How often processes were grabbed so far. */
export function grabsIn(log: string): number {
  return Deno.readTextFileSync(log).split("\n")
    .filter((line) => line.startsWith("grab ")).length;
}

/** Many small processes; disposal ends them. */
export class Crowd implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly pids: readonly number[];

  private constructor(process: Deno.ChildProcess, pids: readonly number[]) {
    this.#process = process;
    this.pids = pids;
  }

  /**
   * Starts some processes with anonymous memory of their own.
   *
   * @param kilobytes memory of each.
   */
  static async start(
    { folder }: Illumos,
    { count, kilobytes }: { count: number; kilobytes: number },
  ): Promise<Crowd> {
    const program = `${folder}/crowd`;
    await build("crowd.c", ["-o", program]);
    const process = new Deno.Command(program, {
      args: [`${count}`, `${kilobytes}`],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const text = await process.stdout.text();
    const pids = text.trim().split("\n").map(Number);
    assertEquals(pids.length, count);
    return new Crowd(process, pids);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stdin.close();
    await this.#process.status;
  }
}

/** The state of a process and the pid of its tracer, 0 if none. */
export function controlOf(pid: number): { state: string; tracer: number } {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return {
    state: /^State:\s+(\w)/m.exec(status)?.[1] ?? "",
    tracer: Number(/^TracerPid:\s+(\d+)/m.exec(status)?.[1]),
  };
}

/** Asserts that a process is not controlled and not stopped. */
export function assertFree(pid: number, when: string): void {
  const { state, tracer } = controlOf(pid);
  assert(!"tTZX".includes(state), `process ${pid} is ${state} ${when}`);
  assertEquals(tracer, 0, `process ${pid} is traced ${when}`);
}
