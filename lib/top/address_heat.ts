/**
 * Where in a mapping memory is in use.
 *
 * @module
 */

import { mappingEnd, runAt } from "../memory/pagedata.ts";
import type { PageAges } from "../scanner/ages.ts";

/** A range of addresses. */
export interface AddressSpan {
  readonly start: bigint;
  readonly end: bigint;
}

/**
 * Returns which share of the pages of a range was used within some seconds, for equal
 * parts of what of it is recorded, in the order of their addresses.
 *
 * @param parts the most parts.
 * @returns null if none of it is recorded.
 */
export function heatByAddress(
  ages: PageAges,
  { start, end }: AddressSpan,
  { seconds, parts }: { seconds: number; parts: number },
): number[] | null {
  const { pagedata, used } = ages;
  if (!pagedata) return null;
  const mapping = pagedata.mappings.find((one) =>
    one.start <= start && start < mappingEnd(one)
  );
  if (!mapping) return null;
  const { runPage, runOffset } = pagedata;
  const offsetOf = (address: bigint): number => {
    const page = Number(address - mapping.start) / mapping.pageSize;
    const run = runAt(pagedata, mapping, page);
    const within = Math.max(0, page - runPage[run]);
    return run === mapping.endRun ? runOffset[run] : runOffset[run] + within;
  };
  const first = offsetOf(start);
  const last = offsetOf(end < mappingEnd(mapping) ? end : mappingEnd(mapping));
  const pages = last - first;
  if (pages <= 0) return null;
  // The moments after this one are of that time.
  const before = ages.lastMomentBefore(seconds);
  const count = Math.min(parts, pages);
  return Array.from({ length: count }, (_, part) => {
    const from = first + Math.floor(part * pages / count);
    const to = first + Math.floor((part + 1) * pages / count);
    let hot = 0;
    for (let at = from; at < to; at++) hot += used[at] > before ? 1 : 0;
    return hot / (to - from);
  });
}
