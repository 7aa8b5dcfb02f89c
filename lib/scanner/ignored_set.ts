/**
 * The ignored set: mappings that page-outs have shown to be unpageable, so that not
 * every scan tries them again.
 *
 * @module
 */

import {
  isReferenced,
  isSchedctl,
  mappingBytes,
  type Pagedata,
  type PagedataMapping,
} from "../memory/pagedata.ts";

/** Whole mappings to leave alone, by start address and length in bytes. */
export class IgnoredSet {
  #bytesByStart = new Map<bigint, number>();

  /** How many mappings are ignored. */
  get size(): number {
    return this.#bytesByStart.size;
  }

  add(mapping: PagedataMapping): void {
    this.#bytesByStart.set(mapping.start, mappingBytes(mapping));
  }

  /** Whether exactly this mapping, start and length, is ignored. */
  has(mapping: PagedataMapping): boolean {
    return this.#bytesByStart.get(mapping.start) === mappingBytes(mapping);
  }

  clear(): void {
    this.#bytesByStart.clear();
  }

  /** Removes every mapping that has a referenced or modified page. */
  removeReferenced(pagedata: Pagedata): void {
    if (this.size === 0) return;
    for (const mapping of pagedata.mappings) {
      if (
        this.has(mapping) && !isSchedctl(mapping) &&
        isReferenced(pagedata, mapping)
      ) {
        this.#bytesByStart.delete(mapping.start);
      }
    }
  }

  /** The mappings as `[start, bytes]`, in address order. */
  entries(): [start: bigint, bytes: number][] {
    return [...this.#bytesByStart].sort(([a], [b]) => a < b ? -1 : 1);
  }
}
