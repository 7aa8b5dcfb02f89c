/**
 * Starts and drives `fixtures/workload.pl`, a process with exactly known memory,
 * and reads the kernel's figures about it from `/proc`.
 *
 * All sizes are in bytes. The field names of `/proc` are those of proc(5).
 *
 * @module
 */

import { statFields } from "../../lib/platform/linux/stat.ts";
import { waitingFor } from "./deadline.ts";

const SCRIPT = new URL("../fixtures/workload.pl", import.meta.url).pathname;
const PAGE_SIZE = 4096;

/** How long the process may take for one answer, in milliseconds. */
const TIMEOUT_MS = 120_000;

/** A mapping of the workload; `end` is the first address after it. */
export interface Region {
  name: string;
  start: bigint;
  end: bigint;
  size: number;
}

/** A part of a region, in bytes from its start. */
export interface Part {
  offset: number;
  size: number;
}

/** The advice of {@linkcode Workload.advise}: madvise(2). */
export type Advice =
  | "collapse"
  | "dontneed"
  | "hugepage"
  | "nohugepage"
  | "populate_read"
  | "populate_write";

export interface WorkloadOptions {
  /** The name of the process in `comm`; the default is `perl`. */
  name?: string;
  /** The user and group to become; the caller must be root. */
  uid?: number;
  /** The Perl to run, if it needs another path. */
  perl?: string;
  /** How long to wait for each answer, in milliseconds. */
  timeout?: number;
}

/** A command failed, or the process ended or did not answer. */
export class WorkloadError extends Error {
  override readonly name = "WorkloadError";
}

/** A region as the process prints it. */
interface RegionAnswer extends Omit<Region, "start" | "end"> {
  start: string;
  end: string;
}

/**
 * A running workload. Disposing kills it and waits until it and its children
 * are gone.
 *
 * @example
 * ```ts
 * await using workload = await Workload.start({ name: "victim" });
 * const cold = await workload.anon("cold", 64 * MiB);
 * await workload.anon("hot", 16 * MiB);
 * await workload.hot("hot");
 * ```
 */
export class Workload implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #answers: AsyncGenerator<string>;
  readonly #complaints: Promise<string>;
  readonly #children: number[] = [];
  readonly #timeout: number;

  private constructor(
    { perl = "perl", timeout = TIMEOUT_MS }: WorkloadOptions,
  ) {
    this.#process = new Deno.Command(perl, {
      args: [SCRIPT],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#input = this.#process.stdin.getWriter();
    this.#answers = lines(this.#process.stdout);
    this.#complaints = this.#process.stderr.text();
    this.#timeout = timeout;
  }

  /** Starts a workload without regions. */
  static async start(options: WorkloadOptions = {}): Promise<Workload> {
    const workload = new Workload(options);
    try {
      await workload.#answer("start");
      if (options.name !== undefined) await workload.name(options.name);
      if (options.uid !== undefined) await workload.uid(options.uid);
      return workload;
    } catch (error) {
      await workload[Symbol.asyncDispose]();
      throw error;
    }
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Maps private anonymous memory and fills it. */
  async anon(name: string, size: number): Promise<Region> {
    return toRegion(await this.#ask("anon", name, size));
  }

  /** Maps shared anonymous memory and fills it. */
  async shm(name: string, size: number): Promise<Region> {
    return toRegion(await this.#ask("shm", name, size));
  }

  /** Maps a shared memfd with the name of the region and fills it. */
  async memfd(name: string, size: number): Promise<Region> {
    return toRegion(await this.#ask("memfd", name, size));
  }

  /**
   * Maps memory and does not touch it: anonymous and private, or as `shm` and
   * `memfd` do.
   */
  async reserve(
    name: string,
    size: number,
    { kind }: { kind?: "shm" | "memfd" } = {},
  ): Promise<Region> {
    const words = kind === undefined ? [] : [kind];
    return toRegion(await this.#ask("reserve", name, size, ...words));
  }

  /** Maps all of an existing file and reads it. */
  async file(
    name: string,
    { path, shared = false }: { path: string; shared?: boolean },
  ): Promise<Region> {
    const mode = shared ? "shared" : "private";
    return toRegion(await this.#ask("file", name, path, mode));
  }

  /**
   * Grows the stack below the part that the program uses, and fills it. The mapping
   * is larger, because it includes the program's part.
   */
  async stack(name: string, size: number): Promise<Region> {
    return toRegion(await this.#ask("stack", name, size));
  }

  /** Keeps reading one byte of each page of a region, or of a part of it. */
  async hot(name: string, part?: Part): Promise<void> {
    await this.#ask("hot", name, ...partWords(part));
  }

  /** Keeps writing to each page of a region the contents that it already has. */
  async write(name: string, part?: Part): Promise<void> {
    await this.#ask("write", name, ...partWords(part));
  }

  /** Keeps reading or writing additional pages of a region, by number. */
  async touch(
    name: string,
    how: "read" | "write",
    pages: readonly number[],
  ): Promise<void> {
    await this.#ask("touch", name, how, pages.join());
  }

  /** Stops using a region. */
  async cold(name: string): Promise<void> {
    await this.#ask("cold", name);
  }

  /** Locks a region into memory; needs root or `RLIMIT_MEMLOCK`. */
  async lock(name: string): Promise<void> {
    await this.#ask("lock", name);
  }

  /** Makes the process page out one of its regions. */
  async pageout(name: string): Promise<void> {
    await this.#ask("pageout", name);
  }

  /** Gives the kernel advice on a region, or on a part of it. */
  async advise(name: string, how: Advice, part?: Part): Promise<void> {
    await this.#ask("advise", name, how, ...partWords(part));
  }

  /** Changes the protection of a region or of a part of it. */
  async protect(
    name: string,
    how: "none" | "read" | "write",
    part?: Part,
  ): Promise<void> {
    await this.#ask("protect", name, how, ...partWords(part));
  }

  /**
   * Makes every second run of this many pages read-only, beginning with the second
   * run, so that each run is a separate mapping.
   */
  async split(name: string, pages: number): Promise<void> {
    await this.#ask("split", name, pages);
  }

  /** Moves a region to another address; it becomes cold. */
  async remap(name: string): Promise<Region> {
    return toRegion(await this.#ask("remap", name));
  }

  /** Unmaps a region. */
  async unmap(name: string): Promise<void> {
    await this.#ask("unmap", name);
  }

  /** How much of a region is present in the page tables of the process. */
  async resident(name: string): Promise<number> {
    return (await this.#ask<{ bytes: number }>("resident", name)).bytes;
  }

  /**
   * Reads all of a region, or of all regions, and compares its checksum with that
   * of its original contents.
   */
  async checksum(name?: string): Promise<boolean> {
    const names = name === undefined ? [] : [name];
    return (await this.#ask<{ ok: boolean }>("checksum", ...names)).ok;
  }

  /** All regions in the order of their addresses. */
  async regions(): Promise<Region[]> {
    const { regions } = await this.#ask<{ regions: RegionAnswer[] }>("regions");
    return regions.map(toRegion);
  }

  /**
   * Forks a child that shares all memory copy-on-write, sleeps, and ends with
   * the workload.
   *
   * @param touching whether the child touches the memory that the workload touches
   * now, instead of sleeping.
   * @returns its pid.
   */
  async fork({ touching = false } = {}): Promise<number> {
    const words = touching ? ["touch"] : [];
    const { pid } = await this.#ask<{ pid: number }>("fork", ...words);
    this.#children.push(pid);
    return pid;
  }

  /**
   * Forks a child that exits and stays a zombie while the workload runs.
   *
   * @returns its pid.
   */
  async zombie(): Promise<number> {
    const { pid } = await this.#ask<{ pid: number }>("zombie");
    this.#children.push(pid);
    return pid;
  }

  /** Executes the program again: the pid stays, all regions are gone. */
  async exec(): Promise<void> {
    await this.#ask("exec");
  }

  /** Disables transparent huge pages from now on. */
  async small(): Promise<void> {
    await this.#ask("small");
  }

  /** Becomes another user and group; the workload must be root. */
  async uid(id: number): Promise<void> {
    await this.#ask("uid", id);
  }

  /** Changes the name of the process; the kernel keeps 15 bytes of it. */
  async name(name: string): Promise<void> {
    await this.#ask("name", name);
  }

  /** Sends a signal to the process. */
  kill(signal: Deno.Signal): void {
    this.#process.kill(signal);
  }

  /** Makes the process end by itself and waits for it. */
  async quit(): Promise<Deno.CommandStatus> {
    await this.#input.close();
    return await this.#process.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Killed, because a stopped process does not notice the end of its input.
    if (isRunning(this.pid)) this.#process.kill("SIGKILL");
    await waitingFor(`workload ${this.pid} to end`, this.#process.status);
    // Nothing can read the commands that are still to be written.
    await this.#input.abort().catch(() => {});
    for await (const _ of this.#answers);
    await this.#complaints;
    await until(
      () => !this.#children.some(isRunning),
      `the children of workload ${this.pid} to end`,
    );
  }

  /** Sends a command and waits for its answer; answers come in order. */
  async #ask<Answer = unknown>(
    command: string,
    ...words: (string | number)[]
  ): Promise<Answer> {
    const line = [command, ...words.map(encodeURIComponent)].join(" ");
    const [answer] = await Promise.all([
      this.#answer<Answer>(line),
      // The missing answer is a better error than the broken pipe.
      this.#input.write(new TextEncoder().encode(`${line}\n`)).catch(() => {}),
    ]);
    return answer;
  }

  async #answer<Answer>(line: string): Promise<Answer> {
    const next = await waitingFor(
      `workload ${this.pid} to answer "${line}"`,
      within(
        this.#answers.next(),
        this.#timeout,
        () => new WorkloadError(`workload ${this.pid}: no answer to "${line}"`),
      ),
    );
    if (next.done) {
      const { code, signal } = await this.#process.status;
      throw new WorkloadError(
        `workload ${this.pid} ended at "${line}" (${
          signal ?? `exit ${code}`
        }): ` +
          (await this.#complaints).trim(),
      );
    }
    const answer: Answer & { error?: string } = JSON.parse(next.value);
    if (answer.error !== undefined) {
      throw new WorkloadError(`workload ${this.pid}: ${answer.error}`);
    }
    return answer;
  }
}

/** The kernel's figures about one mapping. */
export interface MappingFigures {
  size: number;
  rss: number;
  /** The part of `rss` that is mapped exactly once. */
  own: number;
  anonymous: number;
  swap: number;
  referenced: number;
}

/**
 * Reads the figures of the mapping that starts at an address.
 *
 * @throws Error if no mapping starts there.
 */
export function mappingFigures(pid: number, start: bigint): MappingFigures {
  const smaps = Deno.readTextFileSync(`/proc/${pid}/smaps`);
  const head = `${start.toString(16).padStart(8, "0")}-`;
  const [, mapping] = `\n${smaps}`.split(`\n${head}`);
  if (mapping === undefined) {
    throw new Error(`process ${pid} has no mapping at 0x${start.toString(16)}`);
  }
  return {
    size: field(mapping, "Size"),
    rss: field(mapping, "Rss"),
    own: field(mapping, "Private_Clean") + field(mapping, "Private_Dirty"),
    anonymous: field(mapping, "Anonymous"),
    swap: field(mapping, "Swap"),
    referenced: field(mapping, "Referenced"),
  };
}

/** The exact resident set size of a process, without the lag of `statm`. */
export function rssOf(pid: number): number {
  return field(Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`), "Rss");
}

/**
 * The proportional set size of a process: a shared page counts divided by the
 * number of processes that map it.
 */
export function pssOf(pid: number): number {
  return field(Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`), "Pss");
}

/**
 * How many pages of a process had to be read from swap or a file: field 12 of
 * proc_pid_stat(5).
 */
export function majorFaults(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  return Number(statFields(stat)[12 - 3]);
}

/** How much of `[start, end)` is present in the page tables of a process. */
export function residentOf(pid: number, start: bigint, end: bigint): number {
  const first = Number(start / BigInt(PAGE_SIZE));
  const last = Number(end / BigInt(PAGE_SIZE));
  const entries = new BigUint64Array(Math.min(8192, last - first));
  using pagemap = Deno.openSync(`/proc/${pid}/pagemap`);
  pagemap.seekSync(first * 8, Deno.SeekMode.Start);
  let pages = 0;
  for (let page = first; page < last;) {
    const batch = entries.subarray(0, last - page);
    const bytes = pagemap.readSync(
      new Uint8Array(batch.buffer, 0, batch.byteLength),
    );
    if (bytes === null) break;
    // Bit 63 of an entry: the page is present.
    pages += batch.subarray(0, bytes / 8).reduce(
      (sum, entry) => sum + Number(entry >> 63n),
      0,
    );
    page += bytes / 8;
  }
  return pages * PAGE_SIZE;
}

/** Clears the reference bits of a process. */
export function clearReferenced(pid: number): void {
  Deno.writeTextFileSync(`/proc/${pid}/clear_refs`, "1");
}

/** Whether a process exists and has not exited. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(
      Deno.readTextFileSync(`/proc/${pid}/status`),
    );
  } catch (error) {
    // ESRCH, for which Deno has no error class: it exited between opening and
    // reading.
    const gone = error instanceof Deno.errors.NotFound ||
      error instanceof Error && error.message.includes("os error 3)");
    if (gone) return false;
    throw error;
  }
}

/**
 * Waits until `condition` holds. The timeout, a minute by default, does not depend
 * on the speed of the machine: it is for conditions that never hold.
 *
 * @param timeout in milliseconds.
 * @param pause between two looks, in milliseconds.
 */
export async function until(
  condition: () => boolean,
  what: string,
  timeout = 60_000,
  pause = 10,
): Promise<void> {
  await waitingFor(what, poll(condition, what, timeout, pause));
}

async function poll(
  condition: () => boolean,
  what: string,
  timeout: number,
  pause: number,
): Promise<void> {
  const deadline = performance.now() + timeout;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

async function within<T>(
  promise: Promise<T>,
  timeout: number,
  error: () => Error,
): Promise<T> {
  const { promise: expired, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(error()), timeout);
  try {
    return await Promise.race([promise, expired]);
  } finally {
    clearTimeout(timer);
  }
}

async function* lines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
}

function toRegion({ start, end, ...rest }: RegionAnswer): Region {
  return { ...rest, start: BigInt(start), end: BigInt(end) };
}

function partWords(part?: Part): number[] {
  return part === undefined ? [] : [part.offset, part.size];
}

/** A figure of `/proc` in the form `Name: 123 kB`. */
function field(text: string, name: string): number {
  const kilobytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1];
  if (kilobytes === undefined) throw new Error(`no figure ${name}`);
  return Number(kilobytes) * 1024;
}
