/**
 * What it costs a process on this machine to be observed and paged out, measured on
 * memory of rcap's own.
 *
 * @module
 */

import type { MemoryCosts } from "../platform.ts";
import type { MemoryCalls } from "./memory_calls.ts";
import type { PagedataSource } from "./pagedata_source.ts";

/**
 * Measures the costs.
 *
 * @returns `undefined` if they cannot be measured.
 */
export function measureCosts(
  _source: PagedataSource,
  _calls: MemoryCalls,
): Promise<MemoryCosts | undefined> {
  return Promise.resolve(undefined);
}
