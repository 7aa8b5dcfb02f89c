/**
 * One process that `rcap size` and `rcap record` watch: the ages of its pages, what of it
 * cannot go, and what of it is in swap.
 *
 * @module
 */

import { type Staying, whatStays } from "../collection/what_stays.ts";
import { NoSuchProcess, ProcessError } from "../errors.ts";
import { Member } from "../group/member.ts";
import type { SampledSizes } from "../group/size_estimate.ts";
import { MA_ANON } from "../memory/mapping_flags.ts";
import type { PagedataMapping } from "../memory/pagedata.ts";
import { PAGE_SWAPPED } from "../memory/page_states.ts";
import type { Clock } from "../platform/clock.ts";
import type {
  MappingFigures,
  MonitoredMemory,
  Platform,
  ProcessEntry,
  ProcessSample,
} from "../platform/platform.ts";
import { PageAges } from "../scanner/ages.ts";
import type { GroupReading } from "../scanner/group_reading.ts";
import { UNIT, unitOf } from "../scanner/moves.ts";
import { OutPages } from "../scanner/out_pages.ts";
import type { Origin } from "../scanner/used_again.ts";
import type { SizedMember } from "./sized_group.ts";

/** How many page states are read at a time, and of a process at the start in all. */
const STATES = 2 ** 16;
const MOST_STATES = 2 ** 24;
/** How old the figures of mappings may get, in milliseconds: to read them takes as long as smaps. */
const FIGURES_LIFE = 60_000;

/** Means to watch processes. */
export interface Watching {
  readonly platform: Platform;
  readonly clock: Clock;
  /** Whether the names of mappings are of interest. Not by default. */
  readonly keepsNames?: boolean;
}

/** A mapping and its name. */
export type NamedMapping = Pick<MappingFigures, "start" | "end" | "name">;

/** A process that is watched. */
export class SizedProcess implements SizedMember {
  readonly entry: ProcessEntry;
  readonly memory: MonitoredMemory;
  readonly #member: Member;
  readonly #platform: Platform;
  readonly #clock: Clock;
  readonly #keepsNames: boolean;
  readonly #out = new OutPages();
  /** The mappings with their names, in address order, as last read; only if these are kept. */
  named: readonly NamedMapping[] = [];
  /** Where the pages of mappings come from when they come back, by their start. */
  #origins = new Map<bigint, Origin>();
  #ages: PageAges | undefined;
  /** When the interval began, and when the figures of the mappings were read. */
  #since = 0;
  #figuresAt = -Infinity;
  /** What stays, and why, as last read. */
  stays: readonly Staying[] = [];
  /** The parts of it that can go: to swap, and to its files; in bytes, as last read. */
  pageable = { toSwap: 0, toFiles: 0 };
  /** How much was in swap when it was first watched, in bytes. */
  outAtStart = 0;
  /** Why it is not watched, or no more. */
  failure: ProcessError | undefined;
  hasExited = false;
  /** Whether a reading was taken in this step. */
  #isRead = false;

  constructor(
    entry: ProcessEntry,
    memory: MonitoredMemory,
    { platform, clock, keepsNames = false }: Watching,
  ) {
    this.#keepsNames = keepsNames;
    this.entry = entry;
    this.memory = memory;
    this.#platform = platform;
    this.#clock = clock;
    this.#member = new Member(entry, memory, () => {});
  }

  /** The size by which the daemon would count it, in bytes. */
  get size(): number {
    return this.#member.proportional;
  }

  /** What is in swap and may come back, in bytes. */
  get out(): number {
    return this.#out.bytes;
  }

  /** The ages of its pages; `undefined` before the first reading, and once it is watched no more. */
  get ages(): PageAges | undefined {
    return this.#ages?.pagedata && this.#ages;
  }

  /** Whether a reading was taken in the last step. */
  get isRead(): boolean {
    return this.#isRead;
  }

  /** As last sampled. */
  get sample(): ProcessEntry & SampledSizes {
    return { ...this.#member.entry, ...this.#member.sizes };
  }

  /** Where the pages of a mapping come from when they come back. */
  originOf({ start, flags }: PagedataMapping): Origin {
    // A mapping that is new is not known yet.
    return this.#origins.get(start) ?? (flags & MA_ANON ? "swap" : "file");
  }

  /** What of it can go is recorded, in bytes. */
  get recorded(): number {
    return this.#ages?.residentBytes ?? 0;
  }

  /** Whether it is watched. */
  get isWatched(): boolean {
    return this.failure === undefined && !this.hasExited;
  }

  /** Why it is not watched, or no more, in words. */
  get error(): string | undefined {
    return this.failure?.message;
  }

  /** Begins to watch. */
  async begin(): Promise<void> {
    await this.#tolerate(async () => {
      await this.memory.checkAccess();
      await this.#readFigures(async (mappings) => {
        for (const mapping of mappings) {
          if (mapping.swapped > 0) await this.#findSwapped(mapping);
        }
      });
      this.outAtStart = this.#out.bytes;
      await this.#measure();
      await this.memory.reset();
      this.#ages = new PageAges({
        originOf: (mapping) => this.originOf(mapping),
        out: this.#out,
      });
      this.#since = this.#clock.now();
    });
  }

  /** Adds the references that are visible now. */
  async look(): Promise<void> {
    this.#isRead = false;
    const ages = this.#ages;
    if (!ages?.pagedata || !this.memory.hasRun()) return;
    await this.#tolerate(async () => {
      ages.look(await this.memory.read("glance"));
      this.#isRead = true;
      await this.#followLeft();
    });
  }

  /** Ends an interval, and makes memory in use show references again. */
  async advance(): Promise<void> {
    this.#isRead = false;
    const ages = this.#ages;
    if (!ages) return;
    await this.#tolerate(async () => {
      const now = this.#clock.now();
      const reading = await this.memory.readPagedata();
      ages.advance(reading, (now - this.#since) / 1000);
      this.#since = now;
      this.#isRead = true;
      // Only after a flush do processors mark again what they have cached.
      await this.memory.refresh();
      await this.#followLeft();
      await this.#measure();
    });
  }

  /** Adds what is known of it to a reading of its group. */
  addTo(reading: GroupReading): void {
    const ages = this.#ages;
    if (!ages?.pagedata) return;
    if (this.#isRead) reading.addRead(ages);
    else {
      reading.addUnread(ages, (this.#clock.now() - this.#since) / 1000);
    }
  }

  unresetFor(milliseconds: number): number {
    return this.memory.unresetFor?.(milliseconds) ?? 0;
  }

  /** Runs a step; if the process cannot be read, it is watched no more. */
  async #tolerate(step: () => Promise<void>): Promise<void> {
    if (!this.isWatched) return;
    try {
      await step();
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
      this.hasExited = this.#sampleNow() === undefined;
      if (!this.hasExited) this.failure = error;
      this.#ages = undefined;
    }
  }

  #sampleNow(): ProcessSample | undefined {
    try {
      const sample = this.#platform.sampleProcess(this.entry.pid);
      const isGone = sample.isZombie || !this.#member.is(sample);
      return isGone ? undefined : sample;
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
      return undefined;
    }
  }

  /** Measures its size, and once a minute by its page tables. */
  async #measure(): Promise<void> {
    const sample = this.#sampleNow();
    if (!sample) {
      const { pid } = this.entry;
      throw new NoSuchProcess(pid, `process ${pid} has exited`);
    }
    this.#member.take(sample);
    const now = this.#clock.now();
    if (this.#member.isDue(now)) {
      await this.#member.readFootprint(now, () => this.#sampleNow());
    }
    if (now - this.#figuresAt >= FIGURES_LIFE) await this.#readFigures();
  }

  /** Reads what of its mappings can go, and where to. */
  async #readFigures(
    onMappings: (mappings: readonly MappingFigures[]) => Promise<void> = () =>
      Promise.resolve(),
  ): Promise<void> {
    const purpose = this.#keepsNames ? "inspect" : "scan";
    const mappings = await this.memory.readMappings(purpose);
    if (this.#keepsNames) {
      this.named = mappings.map(({ start, end, name }) => ({
        start,
        end,
        name,
      }));
    }
    this.#figuresAt = this.#clock.now();
    this.#origins = new Map(
      mappings.map(({ start, pageable, toSwap, anonymous, rss }) => {
        const ofSwap = pageable > 0
          ? toSwap * 2 >= pageable
          : anonymous * 2 >= rss;
        return [start, ofSwap ? "swap" : "file"];
      }),
    );
    this.stays = whatStays(this.memory, mappings);
    const sum = (figure: (mapping: MappingFigures) => number) =>
      mappings.reduce((total, mapping) => total + figure(mapping), 0);
    const toSwap = sum((mapping) => mapping.toSwap);
    this.pageable = {
      toSwap,
      toFiles: sum(({ pageable }) => pageable) - toSwap,
    };
    await onMappings(mappings);
  }

  /** How many more page states may be read at the start. */
  #statesLeft = MOST_STATES;

  /** Finds the pages of a mapping that are in swap. */
  async #findSwapped(
    { start, end, pageSize, swapped }: MappingFigures,
  ): Promise<void> {
    if (pageSize !== UNIT) return;
    const [first, last] = [unitOf(start), unitOf(end)];
    let left = swapped / UNIT;
    for (let at = first; at < last && left > 0 && this.#statesLeft > 0;) {
      const pages = Math.min(STATES, last - at, this.#statesLeft);
      left -= await this.#addSwapped(at, pages);
      at += pages;
      this.#statesLeft -= pages;
    }
  }

  /** Adds the units of a range that are in swap, and returns how many they are. */
  async #addSwapped(firstPage: number, pages: number): Promise<number> {
    const states = await this.memory.readPageStates({
      firstPage,
      pages,
      pageSize: UNIT,
    });
    let found = 0;
    for (let page = 0; page < states.length; page++) {
      if (states[page] !== PAGE_SWAPPED) continue;
      this.#out.add(firstPage + page);
      found++;
    }
    return found;
  }

  /** Finds out which of the pages that have left since are in swap. */
  async #followLeft(): Promise<void> {
    const left = this.#out.takeLeft();
    if (this.#platform.memory().totalSwap === 0) return;
    let most = STATES;
    for (const { unit, units } of left) {
      const pages = Math.min(units, most);
      if (pages === 0) return;
      most -= pages;
      await this.#addSwapped(unit, pages);
    }
  }
}
