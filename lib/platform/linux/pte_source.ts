/**
 * Pagedata from page tables: a reference bit for every page.
 *
 * A soft-dirty page counts as modified, if the kernel has that bit. Otherwise a
 * page that is dirty and accessed does: the processor's dirty bit stays set until
 * the page is written back, so a page that was written long ago and only read since
 * also counts as modified.
 *
 * @module
 */

import { ProcessError } from "../../errors.ts";
import type { Pagedata } from "../../memory/pagedata.ts";
import { mayBePageable } from "./candidates.ts";
import type { JoinedMappings } from "./joined_mappings.ts";
import { flagsOf, type LinuxMapping } from "./linux_mapping.ts";
import type { LockLook } from "./memory_calls.ts";
import { type MemoryFiles, readSizes } from "./memory_files.ts";
import type { PageRecorder } from "./page_recorder.ts";
import type { PageInterval, PageSink, PageTables } from "./page_tables.ts";
import type { PagedataRequest, PagedataSource } from "./pagedata_source.ts";
import { Precision, requireRoom } from "./precision.ts";
import type { SmapsParser } from "./smaps.ts";
import type { AddressSpace } from "./task_list.ts";

/** How long one list of all address spaces is used, in milliseconds. */
const LIST_LIFE = 100;
/** How long it is used for looking at locks, in milliseconds. */
const LIST_LIFE_FOR_LOCKS = 1000;

/** How often tables are read if they change during the reading. */
const ATTEMPTS = 3;

/** The page size of the pagedata, in bytes; a large page counts as many. */
const PAGE_SIZE = 4096;

/** Reads page tables. */
export class PteSource implements PagedataSource {
  readonly name = "pte";
  readonly #tables: PageTables;
  #spaces: ReadonlyMap<number, AddressSpace> = new Map();
  #listed = -Infinity;
  /** The run times of processes at their last reading, by top table. */
  readonly #runtimes = new Map<bigint, number>();

  /** Takes ownership of the tables, which are closed with the source. */
  constructor(tables: PageTables) {
    this.#tables = tables;
  }

  async reset(files: MemoryFiles): Promise<void> {
    // After both, no processor caches an entry with the accessed bit set.
    await files.clearBoth();
  }

  async refresh(files: MemoryFiles): Promise<void> {
    // A scan does not use the modified bits.
    await files.clearSoftDirty();
  }

  async read(files: MemoryFiles, request: PagedataRequest): Promise<Pagedata> {
    const { pid, directory } = files;
    const { purpose, precision = new Precision() } = request;
    const { mappings, joined } = await readMappings(
      files,
      () => precision.parser(purpose),
    );
    let { rss } = directory.opened;
    for (let attempt = 1;; attempt++) {
      const space = this.#space(pid);
      if (!space) {
        // This throws if the process has exited.
        directory.stat();
        throw new ProcessError(
          pid,
          `process ${pid}: BPF does not show it; use --pagedata smaps`,
        );
      }
      if (attempt > 1) ({ rss } = readSizes(directory));
      const { topTable, runtime } = space;
      const recorder = precision.recorder(purpose, rss / PAGE_SIZE);
      const { pagedata, resident } = this.#readTables(
        { topTable, mappings, recorder },
        request,
      );
      if (isPlausible(resident, rss, { mayBeLess: joined.leftOut > 0 })) {
        requireRoom(pid, recorder, request);
        if (precision.noteRecorded(recorder, joined, pagedata)) {
          // A coarser reading does not count as another attempt.
          attempt--;
          continue;
        }
        this.#runtimes.set(topTable, runtime);
        if (purpose === "scan") await files.clearReferences();
        return pagedata;
      }
      if (attempt === ATTEMPTS) {
        throw new ProcessError(
          pid,
          `process ${pid}: its page tables show ${resident} resident bytes, but its RSS is ${rss}; it changes too fast to be read`,
        );
      }
      this.#listed = -Infinity;
    }
  }

  #readTables(
    { topTable, mappings, recorder }: {
      topTable: bigint;
      mappings: readonly LinuxMapping[];
      recorder: PageRecorder;
    },
    { purpose, context }: PagedataRequest,
  ): { pagedata: Pagedata; resident: number } {
    const wanted = mappings.map((mapping) =>
      purpose === "inspect" || mayBePageable(mapping, context)
    );
    const sink = new BuildingSink(mappings, { wanted, recorder });
    this.#tables.read(topTable, mappings.map(ownInterval), sink);
    return { pagedata: sink.build(), resident: sink.pages * PAGE_SIZE };
  }

  hasRun(pid: number): boolean {
    const space = this.#space(pid);
    return !space || this.#runtimes.get(space.topTable) !== space.runtime;
  }

  addressSpaces(): ReadonlyMap<number, AddressSpace> {
    this.#list();
    return this.#spaces;
  }

  lookAtLock(pid: number, anew: boolean): LockLook | undefined {
    // If the address space has just gone, the result is arbitrary, and the next
    // look reads a new list.
    const space = this.#space(pid, anew ? 0 : LIST_LIFE_FOR_LOCKS);
    return space && this.#tables.lookAtLock(space);
  }

  /**
   * Returns the address space of a process, from a list of all that serves many
   * processes.
   */
  #space(pid: number, life = LIST_LIFE): AddressSpace | undefined {
    const isOld = performance.now() - this.#listed > life;
    if (isOld || !this.#spaces.has(pid)) this.#list();
    return this.#spaces.get(pid);
  }

  #list(): void {
    this.#spaces = this.#tables.addressSpaces();
    this.#listed = performance.now();
    this.#forgetGone();
  }

  #forgetGone(): void {
    if (this.#runtimes.size <= this.#spaces.size) return;
    const present = new Set(
      Array.from(this.#spaces.values(), ({ topTable }) => topTable),
    );
    for (const topTable of this.#runtimes.keys()) {
      if (!present.has(topTable)) this.#runtimes.delete(topTable);
    }
  }

  [Symbol.dispose](): void {
    this.#tables[Symbol.dispose]();
  }
}

/**
 * Whether a count of resident bytes is plausible, given the RSS shortly before.
 *
 * @param mayBeLess whether some mappings were not read.
 */
function isPlausible(
  resident: number,
  rss: number,
  { mayBeLess }: { mayBeLess: boolean },
): boolean {
  const tolerance = 4 * 2 ** 20 + rss / 4;
  return resident - rss <= tolerance &&
    (mayBeLess || rss - resident <= tolerance);
}

/**
 * Reads the mappings, with their flags if any may be locked or hugetlb, which only
 * smaps shows. Few processes have such mappings, so maps is read during the check.
 */
async function readMappings(
  files: MemoryFiles,
  newParser: () => SmapsParser,
): Promise<{ mappings: LinuxMapping[]; joined: JoinedMappings }> {
  const { directory } = files;
  let parser = newParser();
  const [maps, hasFlags] = await meanwhile(
    files.readMaps(parser),
    () => mayHaveFlags(directory.readText("status")),
  );
  if (!hasFlags) return { mappings: maps, joined: parser.joined };
  parser = newParser();
  const mappings = await files.readSmaps(parser);
  return { mappings, joined: parser.joined };
}

/** Whether a process has memory that is locked or hugetlb: proc_pid_status(5). */
function mayHaveFlags(status: string): boolean {
  return /^(?:VmLck|HugetlbPages):\s*[1-9]/m.test(status);
}

/**
 * Runs a step on this thread while calls run on another, and waits for both even if
 * one fails.
 */
async function meanwhile<Called, Done>(
  calls: Promise<Called>,
  step: () => Done,
): Promise<[Called, Done]> {
  const [called, done] = await Promise.allSettled([calls, Promise.try(step)]);
  if (called.status === "rejected") throw called.reason;
  if (done.status === "rejected") throw done.reason;
  return [called.value, done.value];
}

/** Returns the pages of a mapping. */
function intervalOf({ start, end }: LinuxMapping): PageInterval {
  return {
    firstPage: Number(start / BigInt(PAGE_SIZE)),
    endPage: Number(end / BigInt(PAGE_SIZE)),
  };
}

/** Returns the pages of a mapping that the process's own tables map. */
function ownInterval(mapping: LinuxMapping): PageInterval {
  const interval = intervalOf(mapping);
  // [vsyscall] lies in the kernel's half of the address space.
  return mapping.start >> 63n === 0n
    ? interval
    : { ...interval, endPage: interval.firstPage };
}

/** Builds pagedata from the pages that are found. */
class BuildingSink implements PageSink {
  readonly #mappings: readonly LinuxMapping[];
  readonly #wanted: readonly boolean[];
  readonly #recorder: PageRecorder;
  /** How many mappings were passed to the recorder. */
  #added = 0;
  /** First page of the mapping last added. */
  #firstPage = 0;
  /** Present pages that count towards RSS, wanted or not. */
  pages = 0;

  constructor(
    mappings: readonly LinuxMapping[],
    { wanted, recorder }: {
      wanted: readonly boolean[];
      recorder: PageRecorder;
    },
  ) {
    this.#mappings = mappings;
    this.#wanted = wanted;
    this.#recorder = recorder;
  }

  addPages(interval: number, page: number, bits: Uint8Array): void {
    this.#count(interval, bits.length);
    if (!this.#wanted[interval]) return;
    this.#addMappings(interval + 1);
    this.#recorder.addBits(page - this.#firstPage, bits);
  }

  addLargePage(
    interval: number,
    page: number,
    { count, bits }: { count: number; bits: number },
  ): void {
    this.#count(interval, count);
    if (!this.#wanted[interval]) return;
    this.#addMappings(interval + 1);
    this.#recorder.addPages(page - this.#firstPage, { count, bits });
  }

  build(): Pagedata {
    this.#addMappings(this.#mappings.length);
    return this.#recorder.build();
  }

  #count(interval: number, pages: number): void {
    // RSS does not include hugetlb pages.
    if (!this.#mappings[interval].flags.has("ht")) this.pages += pages;
  }

  /** Passes the mappings before an index to the recorder. */
  #addMappings(end: number): void {
    for (; this.#added < end; this.#added++) {
      const mapping = this.#mappings[this.#added];
      const { firstPage, endPage } = intervalOf(mapping);
      this.#recorder.addMapping({
        start: mapping.start,
        pages: endPage - firstPage,
        pageSize: PAGE_SIZE,
        flags: flagsOf(mapping),
      });
      this.#firstPage = firstPage;
    }
  }
}
