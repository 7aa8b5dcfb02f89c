/**
 * What the first reference to a page costs after its reference bit was reset: measured
 * on memory of rcap's own, whose bits are reset as those of any process are.
 *
 * A processor sets the bit itself, which takes it some tens of nanoseconds, or a few
 * hundred if it has to fetch the entry of the page table from memory. Where a hypervisor
 * keeps shadow page tables, the reset drops entries of these, and the next reference is
 * a page fault of the hypervisor, which takes microseconds:
 * Documentation/virt/kvm/x86/mmu.rst.
 *
 * @module
 */

import { threadSeconds } from "../../../ffi/clock.ts";
import { MappedMemory } from "../../../ffi/mapped_memory.ts";
import { median } from "./median.ts";
import type { MemoryCalls } from "./memory_calls.ts";
import { MemoryFiles } from "./memory_files.ts";
import type { PagedataSource } from "./pagedata_source.ts";
import { ProcDir } from "./proc_dir.ts";
import { readProcess } from "./process_list.ts";

const PAGE_SIZE = 4096;
/**
 * How many pages are referenced in each round, a power of two: 32 MiB, so much that
 * caches do not have room for the page tables, too.
 */
const PAGES = 8192;
const ROUNDS = 5;
/** Odd, so that its multiples, modulo the pages, are all pages, in no order. */
const STEP = 0x9e3779b1;

/**
 * Measures by how much longer the first reference to a page takes after a reset. Keeps
 * this thread busy for as long as thousands of references take.
 *
 * @param signal ends the measurement, after which the source is not used.
 * @returns nanoseconds.
 * @throws the reason of the signal.
 * @throws ProcessError if the references of rcap itself cannot be reset.
 */
export async function measureReference(
  source: PagedataSource,
  calls: MemoryCalls,
  signal?: AbortSignal,
): Promise<number> {
  const self = readProcess(Deno.pid);
  using memory = MappedMemory.anonymous(PAGES * PAGE_SIZE);
  memory.adviseSmallPages();
  memory.contents.fill(1);
  const { contents } = memory;
  // The runtime compiles what runs often.
  for (let round = 0; round < ROUNDS; round++) touchAll(contents);
  const usual: number[] = [];
  const afterReset: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    usual.push(touchAll(contents));
    await calls.patiently(self, async (attempt) => {
      using directory = ProcDir.open(self);
      await source.reset(new MemoryFiles(directory, attempt));
    });
    signal?.throwIfAborted();
    afterReset.push(touchAll(contents));
  }
  const seconds = Math.max(0, median(afterReset) - median(usual));
  return seconds * 1e9 / PAGES;
}

/** Reads a byte of each page, and returns the processor time that it took, in seconds. */
function touchAll(contents: Uint8Array): number {
  let sum = 0;
  const began = threadSeconds();
  for (let index = 0; index < PAGES; index++) {
    sum += contents[(Math.imul(index, STEP) & PAGES - 1) * PAGE_SIZE];
  }
  const seconds = threadSeconds() - began;
  // What is read must matter, or it need not be read.
  if (sum !== PAGES) throw new Error(`${sum} in ${PAGES} pages`);
  return seconds;
}
