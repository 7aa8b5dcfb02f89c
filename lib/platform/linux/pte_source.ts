/**
 * Pagedata from page tables: a reference bit for every page.
 *
 * A page that is dirty and accessed counts as modified: the processor's dirty bit
 * stays set until the page is written back, so a page that was written long ago and
 * only read since also counts as modified. Soft-dirty bits would tell, but only if
 * rcap reset them, and they belong to others: `./reference_reset.ts`.
 *
 * If tables and RSS do not agree, a process is read from smaps for once.
 *
 * @module
 */

import { ProcessError } from "../../errors.ts";
import type { Pagedata } from "../../memory/pagedata.ts";
import { formatSize } from "../../report/units.ts";
import type { Footprint } from "../platform.ts";
import {
  BuildingSink,
  isCounted,
  ownInterval,
  PAGE_SIZE,
} from "./building_sink.ts";
import { mayBePageable, type PageableContext } from "./candidates.ts";
import type { LinuxMapping } from "./linux_mapping.ts";
import type { LockLook } from "./memory_calls.ts";
import { type MemoryFiles, readSizes } from "./memory_files.ts";
import type { PageRecorder } from "./page_recorder.ts";
import type { PageTables } from "./page_tables.ts";
import type {
  PagedataRequest,
  PagedataSource,
  ResetOptions,
} from "./pagedata_source.ts";
import { PassedOver } from "./passed_over.ts";
import { Precision, requireRoom } from "./precision.ts";
import { type ProcDir, requireMemory } from "./proc_dir.ts";
import {
  ClearRefs,
  cool,
  Cooling,
  type ReferenceReset,
} from "./reference_reset.ts";
import { ResetPlan } from "./reset_plan.ts";
import { SmapsSource } from "./smaps_source.ts";
import {
  type CoolingContext,
  coolingContext,
  mayCool,
  mayHaveHugetlb,
  readFlags,
  readMappings,
} from "./table_mappings.ts";
import type { AddressSpace } from "./task_list.ts";

/** How long one list of all address spaces is used, in milliseconds. */
const LIST_LIFE = 100;
/** How long it is used for looking at locks, in milliseconds. */
const LIST_LIFE_FOR_LOCKS = 1000;

/** How often tables are read if they change during the reading. */
const ATTEMPTS = 3;

/** The page tables of all processes. */
export type ReadableTables =
  & Pick<
    PageTables,
    "addressSpaces" | "hasSoftDirty" | "lookAtLock" | "read" | "tally"
  >
  & Disposable;

/** What a reading of a process found. */
interface Known {
  /** The run time of the process until then. */
  readonly runtime: number;
  /** Whether the flags of its mappings decided what its tables meant. */
  readonly needsFlags: boolean;
}

/**
 * By how much the RSS of statm may be off the page tables' own count, in bytes; if
 * by more, something that RSS does not include was counted. The kernel counts RSS
 * per processor or thread and adds it up from time to time.
 */
const RSS_TOLERANCE = 2 ** 20;

/**
 * How long the counts of a process are used, in milliseconds. To count a page takes
 * as long as smaps takes for it, since the kernel's record of the page is to be
 * read: 15 to 250 ns, depending on how scattered memory is, where reading its bits
 * takes 3. So a daemon that counted at every reading would be many times as dear. A
 * page that becomes shared or pinned is known as such a minute later; until then,
 * page-outs pass over it.
 */
const COUNT_LIFE = 60_000;

/** Pages without a map count that can be due to changes while they were read. */
const MOST_UNKNOWN = 64;

/** Reads page tables. */
export class PteSource implements PagedataSource {
  readonly name = "pte";
  readonly #tables: ReadableTables;
  readonly #reset: ReferenceReset;
  #spaces: ReadonlyMap<number, AddressSpace> = new Map();
  #listed = -Infinity;
  /** What the last reading of each process found, by top table. */
  readonly #known = new Map<bigint, Known>();
  /** For processes whose page tables do not agree with what the kernel counts. */
  readonly #bySmaps = new SmapsSource();
  /** The pages of processes that page-outs pass over, by top table. */
  readonly #passedOver = new Map<
    bigint,
    { readonly passedOver: PassedOver; readonly counted: number }
  >();

  /**
   * Takes ownership of the tables, which are closed with the source.
   *
   * @param reset how references are reset; as the kernel requires by default.
   */
  constructor(
    tables: ReadableTables,
    reset: ReferenceReset = tables.hasSoftDirty
      ? new Cooling()
      : new ClearRefs(),
  ) {
    this.#tables = tables;
    this.#reset = reset;
  }

  async reset(
    files: MemoryFiles,
    {
      isLeftAlone = () => false,
      precision = new Precision(),
      plan = new ResetPlan(),
    }: ResetOptions = {},
  ): Promise<void> {
    const { blocks } = plan;
    if (!plan.isLimited && !this.#reset.needsBlocks) {
      await this.#reset.reset(files, blocks);
      plan.beginWithAll();
      return;
    }
    plan.begin();
    await this.#countReferences(files, { precision, plan }, {
      hasSecondaryMmu: isLeftAlone(),
      mainThreadExited: files.directory.opened.mainThreadExited,
    });
    await this.#resetAsPlanned(
      files,
      plan,
      () => this.#reset.reset(files, blocks),
    );
  }

  /**
   * Resets references after a reading, as far as the budget of the process allows.
   *
   * @param resetAll resets all of them; the blocks in use are chosen.
   * @param resetsAll whether they are all reset in any case.
   */
  async #resetAsPlanned(
    files: MemoryFiles,
    plan: ResetPlan,
    resetAll: () => Promise<void>,
    resetsAll = false,
  ): Promise<void> {
    const { blocks } = plan;
    let choice = resetsAll ? plan.decideAll() : plan.decide(true);
    if (choice === "blocks") {
      if (await cool(files, blocks)) return plan.noteReset(choice);
      choice = plan.decide(false);
    }
    if (choice !== "all") return;
    if (this.#reset.needsBlocks) blocks.chooseAll();
    await resetAll();
    plan.noteReset(choice);
  }

  async refresh(files: MemoryFiles): Promise<void> {
    await this.#reset.refresh(files);
  }

  async read(files: MemoryFiles, request: PagedataRequest): Promise<Pagedata> {
    const { pid, directory } = files;
    const { purpose, precision = new Precision(), plan = new ResetPlan() } =
      request;
    const newParser = () => precision.parser(purpose);
    let { mappings, joined, hasFlags } = await readMappings(files, {
      newParser,
      needsFlags: this.#needsFlags(pid),
    });
    let { rss } = directory.opened;
    for (let attempt = 1;; attempt++) {
      const space = this.#requireSpace(files);
      if (attempt > 1) ({ rss } = readSizes(directory));
      const { topTable, runtime } = space;
      const recorder = precision.recorder(purpose, rss / PAGE_SIZE);
      const passedOver = purpose === "inspect"
        ? undefined
        : await this.#passedOverOf(topTable, mappings, request);
      const { pagedata, resident, mayBeHugetlb } = files.work(() =>
        this.#readTables({ topTable, mappings, recorder, passedOver }, {
          ...request,
          plan,
        })
      );
      files.cost.pages += resident / PAGE_SIZE;
      const isRight = isPlausible(resident, rss, {
        mayBeLess: joined.leftOut > 0,
      });
      if (!hasFlags && (mayBeHugetlb || !isRight)) {
        // Only smaps shows what RSS does not count.
        ({ mappings, joined, hasFlags } = await readFlags(files, newParser()));
      } else if (isRight) {
        requireRoom(pid, recorder, request);
        if (precision.noteRecorded(recorder, joined, pagedata)) {
          // A coarser reading does not count as another attempt.
          attempt--;
          continue;
        }
        precision.noteSource(undefined);
        this.#known.set(topTable, { runtime, needsFlags: hasFlags });
        if (this.#needsBlocks(plan)) plan.read(purpose === "scan");
        if (purpose === "scan") {
          await this.#resetAsPlanned(
            files,
            plan,
            () => this.#reset.afterReading(files, plan.blocks),
            request.resetsAll,
          );
        }
        return pagedata;
      }
      if (attempt === ATTEMPTS) {
        const pagedata = await this.#bySmaps.read(files, request);
        precision.noteSource(
          `its page tables show ${
            formatSize(resident)
          } in memory, but its RSS is ${formatSize(rss)}`,
        );
        return pagedata;
      }
      this.#listed = -Infinity;
    }
  }

  /** Whether the last reading of a process needed the flags of its mappings. */
  #needsFlags(pid: number): boolean {
    const space = this.#space(pid);
    return space !== undefined &&
      this.#known.get(space.topTable)?.needsFlags === true;
  }

  /** Whether references have to be counted by blocks. */
  #needsBlocks(plan: ResetPlan): boolean {
    return this.#reset.needsBlocks || plan.isCounting;
  }

  #readTables(
    { topTable, mappings, recorder, passedOver }: {
      topTable: bigint;
      mappings: readonly LinuxMapping[];
      recorder: PageRecorder;
      passedOver: PassedOver | undefined;
    },
    { purpose, context, plan }: PagedataRequest & { plan: ResetPlan },
  ): {
    pagedata: Pagedata;
    resident: number;
    mayBeHugetlb: boolean;
  } {
    const wanted = mappings.map((mapping) =>
      purpose === "inspect"
        ? isCounted(mapping)
        : mayBePageable(mapping, context)
    );
    const { blocks } = plan;
    const isCounting = this.#needsBlocks(plan);
    const intervals = mappings.map(ownInterval);
    if (isCounting) {
      blocks.startReading(intervals, mayCool(mappings, context));
    }
    const sink = new BuildingSink(mappings, {
      wanted,
      recorder,
      blocks: isCounting ? blocks : undefined,
    });
    this.#tables.read(topTable, intervals, sink, passedOver);
    return {
      pagedata: sink.build(),
      resident: sink.pages * PAGE_SIZE,
      mayBeHugetlb: sink.mayBeHugetlb,
    };
  }

  /** Counts the referenced pages of each block. */
  async #countReferences(
    files: MemoryFiles,
    { precision, plan }: { precision: Precision; plan: ResetPlan },
    context: CoolingContext,
  ): Promise<void> {
    const { mappings } = await readMappings(files, {
      newParser: () => precision.parser("scan"),
      needsFlags: this.#needsFlags(files.pid),
    });
    const { topTable } = this.#requireSpace(files);
    const { blocks } = plan;
    const intervals = mappings.map(ownInterval);
    blocks.startReading(intervals, mayCool(mappings, context));
    const passedOver = plan.isLimited
      ? await this.#passedOverOf(topTable, mappings, {
        context: coolingContext(context),
      })
      : undefined;
    files.work(() =>
      this.#tables.read(topTable, intervals, blocks, passedOver)
    );
    plan.read(false);
  }

  hasSecondaryMmu(files: MemoryFiles): boolean {
    return this.#space(files.pid)?.hasSecondaryMmu ??
      this.#bySmaps.hasSecondaryMmu(files);
  }

  /** Finds the pages of a process that page-outs pass over, at most once a minute. */
  async #passedOverOf(
    topTable: bigint,
    mappings: readonly LinuxMapping[],
    { context }: { readonly context: PageableContext },
  ): Promise<PassedOver> {
    const known = this.#passedOver.get(topTable);
    const now = performance.now();
    if (known && now - known.counted < COUNT_LIFE) return known.passedOver;
    const passedOver = new PassedOver();
    const intervals = mappings
      .filter((mapping) => mayBePageable(mapping, context)).map(ownInterval);
    await this.#tables.tally(topTable, intervals, passedOver);
    this.#passedOver.set(topTable, { passedOver, counted: now });
    return passedOver;
  }

  async countFootprint(directory: ProcDir): Promise<Footprint | undefined> {
    const { pid } = directory;
    if (mayHaveHugetlb(directory.readText("status"))) return undefined;
    const space = this.#space(pid);
    const [total] = space && await this.#tables.tally(space.topTable) || [];
    if (!total || total.unknown > MOST_UNKNOWN) return undefined;
    const rss = total.pages * PAGE_SIZE;
    if (Math.abs(readSizes(directory).rss - rss) > RSS_TOLERANCE) {
      return undefined;
    }
    const proportional = Math.round(total.proportional * PAGE_SIZE);
    return {
      rss,
      fileRss: rss - total.anonymous * PAGE_SIZE,
      proportional,
      fileProportional: proportional -
        Math.round(total.anonymousProportional * PAGE_SIZE),
    };
  }

  async refine(pid: number, mappings: readonly LinuxMapping[]): Promise<void> {
    const space = this.#space(pid);
    const totals = space &&
      await this.#tables.tally(space.topTable, mappings.map(ownInterval));
    for (const [at, { own, ownPinned, unknown }] of totals?.entries() ?? []) {
      const mapping = mappings[at];
      if (unknown > 0 || mapping.flags.has("ht")) continue;
      // The process runs between the two readings.
      mapping.own = Math.min(own * PAGE_SIZE, mapping.rss);
      mapping.pinned = Math.min(ownPinned * PAGE_SIZE, mapping.own);
    }
  }

  hasRun(pid: number): boolean {
    const space = this.#space(pid);
    return !space ||
      this.#known.get(space.topTable)?.runtime !== space.runtime;
  }

  isAlone(pid: number): boolean {
    const space = this.#space(pid);
    return space?.isShared === false && space.hasSecondaryMmu === false;
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
   * Returns the address space of a process.
   *
   * @throws ProcessError if it has exited or cannot be found.
   */
  #requireSpace({ pid, directory }: MemoryFiles): AddressSpace {
    const space = this.#space(pid);
    if (space) return space;
    requireMemory(directory.stat());
    throw new ProcessError(
      pid,
      `process ${pid}: BPF does not show it; use --pagedata smaps`,
    );
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
    const known = Math.max(this.#known.size, this.#passedOver.size);
    if (known <= this.#spaces.size) return;
    const present = new Set(
      Array.from(this.#spaces.values(), ({ topTable }) => topTable),
    );
    for (const known of [this.#known, this.#passedOver]) {
      for (const topTable of known.keys()) {
        if (!present.has(topTable)) known.delete(topTable);
      }
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
