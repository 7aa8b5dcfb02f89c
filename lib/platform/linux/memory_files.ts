/**
 * The files in `/proc/<pid>` that describe a process's memory: maps, smaps, statm,
 * pagemap, and clear_refs, which resets its reference bits.
 *
 * All of them except statm take the mmap lock of the process, so they are read on
 * another thread: `./memory_calls.ts`.
 *
 * @module
 */

import { CallList, OPENED } from "../../../ffi/call_list.ts";
import { threadSeconds } from "../../../ffi/clock.ts";
import { File, O_RDONLY, O_WRONLY } from "../../../ffi/file.ts";
import { Errno, systemError } from "../../../ffi/libc.ts";
import { lookWhetherAlive } from "../../../ffi/pagemap.ts";
import { kernelRelease, pageSize, processors } from "../../../ffi/system.ts";
import { ThreadClock } from "../../../ffi/thread_clock.ts";
import { ProcessError, SystemError } from "../../errors.ts";
import type { ProcessSizes } from "../../memory/process_memory.ts";
import type { Footprint, ReadCost } from "../platform.ts";
import type { LinuxMapping } from "./linux_mapping.ts";
import type { Attempt } from "./memory_calls.ts";
import { MemoryDevicesParser } from "./memory_devices.ts";
import { exited } from "../process_errors.ts";
import { ofProcess, ofProcessSlowly, type ProcDir } from "./proc_dir.ts";
import { rssErrorInPages } from "./rss_error.ts";
import { SmapsParser } from "./smaps.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What one read returns of a file that the kernel writes line by line: a page. */
const CHUNK = 4096;
/** How many chunks one list of calls reads. */
const CHUNKS = 32;
/** How many the first list reads. */
const FIRST_CHUNKS = 8;

/** Buffers that are not in use. */
const buffers: Uint8Array<ArrayBuffer>[] = [];
/** The most buffers that are kept. */
const MOST_BUFFERS = 8;

/**
 * The most bytes of a mountinfo that are read: over 20,000 mounts, of the 100,000
 * that a namespace may have by default (`fs.mount-max` of proc_sys_fs(5)).
 */
const MOST_MOUNTINFO = 4 << 20;

/** The memory files of one process. */
export class MemoryFiles {
  readonly directory: ProcDir;
  /** What reading has cost so far; a source counts the pages. */
  readonly cost: ReadCost = { pages: 0, seconds: 0 };
  readonly #attempt: Attempt;

  constructor(directory: ProcDir, attempt: Attempt) {
    this.directory = directory;
    this.#attempt = attempt;
    attempt.allowFor(directory.opened.rss);
  }

  /** The process id. */
  get pid(): number {
    return this.directory.pid;
  }

  /**
   * Reads the mappings with all figures. Makes the kernel walk the page tables.
   *
   * @param parser decides how much of them is kept.
   */
  async readSmaps(parser = new SmapsParser()): Promise<LinuxMapping[]> {
    return await this.#readMappings("smaps", parser);
  }

  /** Reads the mappings without figures. */
  async readMaps(parser = new SmapsParser()): Promise<LinuxMapping[]> {
    return await this.#readMappings("maps", parser);
  }

  /** Reads the devices of memory file systems in the mount namespace of the process. */
  async readMemoryDevices(): Promise<ReadonlySet<string>> {
    const parser = new MemoryDevicesParser();
    try {
      await this.#read(
        "mountinfo",
        (bytes) => parser.push(bytes),
        MOST_MOUNTINFO,
      );
    } catch (error) {
      // A process that exits has no namespace any more: mounts_open_common of
      // fs/proc_namespace.c.
      const { cause } = error instanceof ProcessError ? error : {};
      if (!(cause instanceof SystemError)) throw error;
      throw cause.errno === Errno.EINVAL ? exited(this.pid) : error;
    }
    return parser.devices;
  }

  /** Reads the footprint from `smaps_rollup`. Makes the kernel walk the page tables. */
  async readFootprint(): Promise<Footprint> {
    let text = "";
    await this.#read("smaps_rollup", (bytes) => text += decoder.decode(bytes));
    // If the address space is gone, the file is empty.
    if (text === "") throw exited(this.pid);
    return ofProcess(this.pid, () => parseRollup(text));
  }

  /** Resets the reference bits: clear_refs of proc(5), value 1. */
  async clearReferences(): Promise<void> {
    await this.#clear("1");
  }

  /**
   * Flushes the TLBs: while a processor caches an entry, it does not set the accessed
   * bit again. This is what value 4 does besides resetting the soft-dirty bits
   * (`clear_refs_write` of fs/proc/task_mmu.c), so it is for kernels without these:
   * `./reference_reset.ts`.
   */
  async flush(): Promise<void> {
    await this.#clear("4");
  }

  /** {@linkcode clearReferences} and {@linkcode flush}. */
  async clearAndFlush(): Promise<void> {
    await this.#clear("1", "4");
  }

  /** Opens the pagemap; `using` closes it. */
  async openPagemap(): Promise<File> {
    const calls = new CallList();
    const opened = calls.open(this.directory.fd, "pagemap", O_RDONLY);
    return await ofProcessSlowly(this.pid, async () => {
      await this.#attempt.make(calls);
      const path = this.#path("pagemap");
      return File.own(calls.checked(opened, `open ${path}`), path);
    });
  }

  /**
   * Waits for the lock as a reader, for kernels on which the lock cannot be looked
   * at: a waiting writer would block the process's own readers.
   */
  async #waitAsReader(): Promise<void> {
    using pagemap = await this.openPagemap();
    const calls = new CallList();
    lookWhetherAlive(pagemap, calls);
    await this.#attempt.make(calls);
  }

  /** The path of a file, for messages. */
  #path(name: string): string {
    return `/proc/${this.pid}/${name}`;
  }

  /** Makes calls that take the lock as readers. */
  make(
    calls: CallList,
    options?: { isUnstoppable: boolean },
  ): Promise<void> {
    return this.#attempt.make(calls, options);
  }

  /** Runs a step on this thread, and adds its processor time to the cost. */
  work<T>(step: () => T): T {
    const began = threadSeconds();
    try {
      return step();
    } finally {
      this.cost.seconds += threadSeconds() - began;
    }
  }

  async #readMappings(
    name: string,
    parser: SmapsParser,
  ): Promise<LinuxMapping[]> {
    let length = 0;
    await this.#read(name, (bytes) => {
      length += bytes.length;
      parser.push(bytes);
    });
    // If the address space is gone, it has no mappings.
    if (length === 0) throw exited(this.pid);
    return ofProcess(this.pid, () => parser.end());
  }

  /**
   * Reads a file to its end and passes on each part as it arrives.
   *
   * @param most stops after about this many bytes.
   */
  async #read(
    name: string,
    take: (bytes: Uint8Array<ArrayBuffer>) => void,
    most = Infinity,
  ): Promise<void> {
    await ofProcessSlowly(this.pid, async () => {
      const path = this.#path(name);
      const buffer = buffers.pop() ?? new Uint8Array(CHUNK * CHUNKS);
      const calls = new CallList();
      const opened = calls.open(this.directory.fd, name, O_RDONLY);
      // Most files are short.
      const start = buffer.subarray(0, CHUNK * FIRST_CHUNKS);
      const clock = new ThreadClock();
      const options = { part: CHUNK, clock };
      let reads = calls.readParts(OPENED, start, options);
      await this.#attempt.make(calls);
      using file = File.own(calls.checked(opened, `open ${path}`), path);
      this.cost.seconds += clock.seconds;
      let reading = { calls, reads, buffer: start, path };
      let taken = 0;
      while (this.work(() => takeParts(reading, take)) && taken < most) {
        taken += buffer.length;
        calls.clear();
        reads = calls.readParts(file.fd, buffer, options);
        reading = { calls, reads, buffer, path };
        await this.#attempt.make(calls);
        this.cost.seconds += clock.seconds;
      }
      if (buffers.length < MOST_BUFFERS) buffers.push(buffer);
    });
  }

  async #clear(...values: string[]): Promise<void> {
    const calls = new CallList();
    const opened = calls.open(this.directory.fd, "clear_refs", O_WRONLY);
    const clock = new ThreadClock();
    const writes = calls.timed(
      clock,
      () => values.map((value) => calls.write(OPENED, encoder.encode(value))),
    );
    await ofProcessSlowly(this.pid, async () => {
      const path = this.#path("clear_refs");
      if (!this.#attempt.canLook) await this.#waitAsReader();
      await this.#attempt.make(calls, { use: "write" });
      using _file = File.own(
        calls.checked(opened, `open ${path}`),
        path,
      );
      for (const write of writes) calls.checked(write, `write ${path}`);
      this.cost.seconds += clock.seconds;
    });
  }
}

/** Passes on the parts that were read; returns whether there may be more. */
function takeParts(
  { calls, reads, buffer, path }: {
    calls: CallList;
    reads: readonly number[];
    buffer: Uint8Array<ArrayBuffer>;
    path: string;
  },
  take: (bytes: Uint8Array<ArrayBuffer>) => void,
): boolean {
  for (const [index, read] of reads.entries()) {
    const at = index * CHUNK;
    const length = calls.result(read);
    if (length === undefined || length === 0) return false;
    if (length < 0) throw systemError(`read ${path}`, -length);
    take(buffer.subarray(at, at + length));
  }
  return true;
}

/** Sizes of a process as `statm` has them, in bytes. */
export interface StatmSizes extends ProcessSizes {
  /** The part of RSS that belongs to files and shared memory. */
  readonly fileRss: number;
}

let machine: { release: string; processors: number } | undefined;

/**
 * Reads image size, RSS and its part of files from fields 1 to 3 of statm, which are
 * in pages: proc_pid_statm(5). How exact they are, `rss_error.ts` says.
 */
export function readSizes(directory: ProcDir): Required<StatmSizes> {
  machine ??= { release: kernelRelease(), processors: processors() };
  const { release, processors: count } = machine;
  const { threads } = directory.opened;
  const text = directory.readLine("statm");
  return {
    ...ofProcess(directory.pid, () => parseStatm(text)),
    rssError: rssErrorInPages(release, { processors: count, threads }) *
      pageSize(),
  };
}

/**
 * Parses the sizes in a `statm`.
 *
 * @throws SyntaxError if the text is not a line of statm.
 */
export function parseStatm(text: string): StatmSizes {
  const [, image, rss, file] =
    /^(\d{1,12}) (\d{1,12}) (\d{1,12}) /.exec(text) ?? [];
  if (file === undefined) {
    throw new SyntaxError(`not a line of statm: ${text.slice(0, 80)}`);
  }
  return {
    rss: Number(rss) * pageSize(),
    image: Number(image) * pageSize(),
    fileRss: Math.min(Number(file), Number(rss)) * pageSize(),
  };
}

/**
 * Parses a `smaps_rollup`: proc_pid_smaps(5) and Documentation/filesystems/proc.rst.
 *
 * @throws SyntaxError if a size is missing or malformed.
 */
export function parseRollup(text: string): Footprint {
  const size = (name: string) => {
    const value = new RegExp(`^${name}: *(\\d{1,12}) kB$`, "m").exec(text)?.[1];
    if (value === undefined) {
      throw new SyntaxError(
        `no ${name} in smaps_rollup: ${text.slice(0, 80)}`,
      );
    }
    return Number(value) * 1024;
  };
  const rss = size("Rss");
  const proportional = size("Pss");
  return {
    rss,
    fileRss: Math.max(0, rss - size("Anonymous")),
    proportional,
    // In every smaps_rollup since Linux 5.4.
    fileProportional: Math.max(0, proportional - size("Pss_Anon")),
  };
}
