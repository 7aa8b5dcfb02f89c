/**
 * How exact the kernel's count of resident memory is.
 *
 * The kernel adds up RSS in counters that processors or threads update in batches:
 *
 * - Before 6.2, each thread keeps what up to 65 of its page faults have changed
 *   (`check_sync_rss_stat` and `TASK_RSS_EVENTS_THRESH` of mm/memory.c), and a fault on
 *   a file maps up to 64 KiB (`fault_around_bytes`).
 * - From 6.2 on, each processor keeps a part of each of the three counters of resident
 *   pages, up to a batch (commit f1a7941243c1; `compute_batch_value` of
 *   lib/percpu_counter.c).
 * - From 6.16 on, `statm` adds these parts up and is exact (commit 82241a83cd15). `stat`
 *   still does not. Stable releases of older kernels may have that commit too; rcap does
 *   not rely on it.
 *
 * The page tables' own count is always exact: `smaps_rollup`, or map counts.
 *
 * @module
 */

/** How many page faults a thread keeps, and how many pages one of them maps at most. */
const FAULTS_OF_THREAD = 65;
const PAGES_OF_FAULT = 16;

/** The counters of resident pages: of files, anonymous, of shared memory. */
const COUNTERS = 3;

/** The smallest batch of a processor, and the batch for each processor that there is. */
const LEAST_BATCH = 32;
const BATCH_PER_PROCESSOR = 2;

/**
 * Returns by how many pages the RSS of `statm` may differ from what the page tables hold.
 *
 * @param release of the kernel, as uname(2) has it; an unknown form counts as an old one.
 * @param options the processors of the machine, and the threads of the process.
 */
export function rssErrorInPages(
  release: string,
  { processors, threads }: { processors: number; threads: number },
): number {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(release)?.map(Number) ??
    [0, 0, 0];
  const isFrom = (version: number, patch: number) =>
    major > version || major === version && minor >= patch;
  if (isFrom(6, 16)) return 0;
  if (!isFrom(6, 2)) return FAULTS_OF_THREAD * PAGES_OF_FAULT * threads;
  const batch = Math.max(LEAST_BATCH, BATCH_PER_PROCESSOR * processors);
  return COUNTERS * batch * processors;
}
