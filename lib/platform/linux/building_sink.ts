/**
 * Builds pagedata from the present pages of an address space.
 *
 * @module
 */

import type { Pagedata } from "../../memory/pagedata.ts";
import { flagsOf, type LinuxMapping } from "./linux_mapping.ts";
import type { PageSink } from "./page_queue.ts";
import type { PageRecorder } from "./page_recorder.ts";
import type { PageInterval } from "./page_tables.ts";
import type { ReferenceBlocks } from "./reference_blocks.ts";

/** The page size of the pagedata, in bytes; a large page counts as many. */
export const PAGE_SIZE = 4096;

/** Returns the pages of a mapping. */
function intervalOf({ start, end }: LinuxMapping): PageInterval {
  return {
    firstPage: Number(start / BigInt(PAGE_SIZE)),
    endPage: Number(end / BigInt(PAGE_SIZE)),
  };
}

/** Returns the pages of a mapping that the process's own tables map. */
export function ownInterval(mapping: LinuxMapping): PageInterval {
  const interval = intervalOf(mapping);
  // [vsyscall] lies in the kernel's half of the address space.
  return mapping.start >> 63n === 0n
    ? interval
    : { ...interval, endPage: interval.firstPage };
}

/**
 * Whether RSS includes the pages of a mapping, as far as its flags are known: not
 * hugetlb pages, nor device memory without a struct page. The kernel resets no
 * references of these either (`clear_refs_test_walk` and `clear_refs_walk_ops` of
 * fs/proc/task_mmu.c).
 */
export function isCounted({ flags }: LinuxMapping): boolean {
  return !flags.has("ht") && !flags.has("pf");
}

/** Pages of the smallest part of a hugetlb mapping whose page tables are shared: 1 GiB. */
const SHARED_TABLE_PAGES = 2 ** 30 / PAGE_SIZE;

/**
 * Whether processes may share the page tables of a mapping if it is hugetlb: it is
 * shared, and contains a whole table (`vma_shareable` of mm/hugetlb.c).
 */
function mayShareTables(mapping: LinuxMapping): boolean {
  if (mapping.perm[3] !== "s") return false;
  const { firstPage, endPage } = intervalOf(mapping);
  return (Math.ceil(firstPage / SHARED_TABLE_PAGES) + 1) * SHARED_TABLE_PAGES <=
    endPage;
}

/** Builds pagedata from the pages that are found. */
export class BuildingSink implements PageSink {
  readonly #mappings: readonly LinuxMapping[];
  readonly #wanted: readonly boolean[];
  readonly #areCounted: readonly boolean[];
  readonly #mayShareTables: readonly boolean[];
  readonly #recorder: PageRecorder;
  readonly #blocks: ReferenceBlocks | undefined;
  /** How many mappings were passed to the recorder. */
  #added = 0;
  /** First page of the mapping last added. */
  #firstPage = 0;
  /** Present pages that count towards RSS, wanted or not. */
  pages = 0;
  /** Whether large pages were found that may be hugetlb, in mappings without flags. */
  mayBeHugetlb = false;

  constructor(
    mappings: readonly LinuxMapping[],
    { wanted, recorder, blocks }: {
      wanted: readonly boolean[];
      recorder: PageRecorder;
      blocks: ReferenceBlocks | undefined;
    },
  ) {
    this.#blocks = blocks;
    this.#mappings = mappings;
    this.#areCounted = mappings.map(isCounted);
    this.#mayShareTables = mappings.map(mayShareTables);
    this.#wanted = wanted;
    this.#recorder = recorder;
  }

  addPages(interval: number, page: number, bits: Uint8Array): void {
    this.#count(interval, bits.length);
    this.#blocks?.addPages(interval, page, bits);
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
    if (this.#mayShareTables[interval]) this.mayBeHugetlb = true;
    this.#blocks?.addLargePage(interval, page, { count, bits });
    if (!this.#wanted[interval]) return;
    this.#addMappings(interval + 1);
    this.#recorder.addPages(page - this.#firstPage, {
      count,
      bits,
      isLarge: true,
    });
  }

  passOver(
    interval: number,
    page: number,
    counts: { pages: number; referenced: number },
  ): void {
    this.#count(interval, counts.pages);
    this.#blocks?.passOver(interval, page, counts);
  }

  build(): Pagedata {
    this.#addMappings(this.#mappings.length);
    return this.#recorder.build();
  }

  #count(interval: number, pages: number): void {
    if (this.#areCounted[interval]) this.pages += pages;
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
