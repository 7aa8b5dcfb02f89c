/**
 * Starts and drives `fixtures/workload.pl`, a process with exactly known
 * memory, and reads from `/proc` what the kernel says of it.
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

/** What {@linkcode Workload.advise} tells the kernel: madvise(2). */
export type Advice =
  | "collapse"
  | "dontneed"
  | "hugepage"
  | "nohugepage"
  | "populate_read"
  | "populate_write";

export interface WorkloadOptions {
  /** The name of the process, as `comm` has it; by default `perl`. */
  name?: string;
  /** The user and group to become; the caller has to be root. */
  uid?: number;
  /** The Perl to run, where it must have another path. */
  perl?: string;
  /** How long to wait for each answer, in milliseconds. */
  timeout?: number;
}

/** A command failed, or the process ended or gave no answer. */
export class WorkloadError extends Error {
  override readonly name = "WorkloadError";
}

/** A region as the process writes it. */
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

  /** Maps a memfd called like the region, shared, and fills it. */
  async memfd(name: string, size: number): Promise<Region> {
    return toRegion(await this.#ask("memfd", name, size));
  }

  /**
   * Maps memory that nothing has touched: anonymous and private, or as `shm` and
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
   * Makes the stack grow below what the program uses of it, and fills that. The
   * mapping is larger: it has the program's part too.
   */
  async stack(name: string, size: number): Promise<Region> {
    return toRegion(await this.#ask("stack", name, size));
  }

  /** Keeps reading one byte of each page of a region, or of a part of it. */
  async hot(name: string, part?: Part): Promise<void> {
    await this.#ask("hot", name, ...partWords(part));
  }

  /** Keeps writing to each page of a region what the page already holds. */
  async write(name: string, part?: Part): Promise<void> {
    await this.#ask("write", name, ...partWords(part));
  }

  /** Keeps reading or writing these pages of a region too, by number. */
  async touch(
    name: string,
    how: "read" | "write",
    pages: readonly number[],
  ): Promise<void> {
    await this.#ask("touch", name, how, pages.join());
  }

  /** Leaves a region alone again. */
  async cold(name: string): Promise<void> {
    await this.#ask("cold", name);
  }

  /** Locks a region into memory; needs root or `RLIMIT_MEMLOCK`. */
  async lock(name: string): Promise<void> {
    await this.#ask("lock", name);
  }

  /** Lets the process page out a region of its own. */
  async pageout(name: string): Promise<void> {
    await this.#ask("pageout", name);
  }

  /** Gives the kernel advice on a region, or on a part of it. */
  async advise(name: string, how: Advice, part?: Part): Promise<void> {
    await this.#ask("advise", name, how, ...partWords(part));
  }

  /** Changes what the process may do with a region, or with a part of it. */
  async protect(
    name: string,
    how: "none" | "read" | "write",
    part?: Part,
  ): Promise<void> {
    await this.#ask("protect", name, how, ...partWords(part));
  }

  /**
   * Makes every second run of so many pages read-only, beginning with the second
   * run, so that each is a mapping of its own.
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

  /** How much of a region the page tables of the process hold. */
  async resident(name: string): Promise<number> {
    return (await this.#ask<{ bytes: number }>("resident", name)).bytes;
  }

  /**
   * Reads all of a region, or of all regions, and compares a checksum with the
   * one of the contents that the region was mapped with.
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
   * @param touching instead of sleeping, the child touches what the workload
   * touches now.
   * @returns its pid.
   */
  async fork({ touching = false } = {}): Promise<number> {
    const words = touching ? ["touch"] : [];
    const { pid } = await this.#ask<{ pid: number }>("fork", ...words);
    this.#children.push(pid);
    return pid;
  }

  /**
   * Forks a child that exits and stays a zombie as long as the workload runs.
   *
   * @returns its pid.
   */
  async zombie(): Promise<number> {
    const { pid } = await this.#ask<{ pid: number }>("zombie");
    this.#children.push(pid);
    return pid;
  }

  /** Starts the program afresh: the pid stays, all regions are gone. */
  async exec(): Promise<void> {
    await this.#ask("exec");
  }

  /** Has no transparent large pages from now on. */
  async small(): Promise<void> {
    await this.#ask("small");
  }

  /** Becomes another user and group; the workload has to be root. */
  async uid(id: number): Promise<void> {
    await this.#ask("uid", id);
  }

  /** Changes the name of the process, of which the kernel keeps 15 bytes. */
  async name(name: string): Promise<void> {
    await this.#ask("name", name);
  }

  /** Sends a signal to the process. */
  kill(signal: Deno.Signal): void {
    this.#process.kill(signal);
  }

  /** Lets the process end by itself and waits for that. */
  async quit(): Promise<Deno.CommandStatus> {
    await this.#input.close();
    return await this.#process.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Not by end of input: the process may be stopped.
    if (isRunning(this.pid)) this.#process.kill("SIGKILL");
    await waitingFor(`workload ${this.pid} to end`, this.#process.status);
    // Whatever was still to be written has nobody to go to.
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
      // The missing answer tells more than the broken pipe.
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

/** What the kernel says of one mapping. */
export interface MappingFigures {
  size: number;
  rss: number;
  anonymous: number;
  swap: number;
  referenced: number;
}

/**
 * The figures of the mapping that starts at an address.
 *
 * @throws Error when no mapping starts there.
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
    anonymous: field(mapping, "Anonymous"),
    swap: field(mapping, "Swap"),
    referenced: field(mapping, "Referenced"),
  };
}

/** The resident set size of a process, exactly: without the lag of `statm`. */
export function rssOf(pid: number): number {
  return field(Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`), "Rss");
}

/** The proportional set size of a process: what it shares counts by the number of sharers. */
export function pssOf(pid: number): number {
  return field(Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`), "Pss");
}

/** How many pages of a process had to come back from swap or a file: field 12 of proc_pid_stat(5). */
export function majorFaults(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  return Number(statFields(stat)[12 - 3]);
}

/** How much of `[start, end)` the page tables of a process hold. */
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
    // ESRCH, for which Deno has no class: it went between opening and reading.
    const gone = error instanceof Deno.errors.NotFound ||
      error instanceof Error && error.message.includes("os error 3)");
    if (gone) return false;
    throw error;
  }
}

/**
 * Waits until `condition` holds. How long that may take is not up to the speed of a
 * machine: a minute, or another time, is for what does not come at all.
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

/** A figure of `/proc`, which it writes as `Name:    123 kB`. */
function field(text: string, name: string): number {
  const kilobytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1];
  if (kilobytes === undefined) throw new Error(`no figure ${name}`);
  return Number(kilobytes) * 1024;
}
