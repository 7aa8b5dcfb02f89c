/**
 * `/proc/<pid>/xmap` of illumos: how much of every mapping is resident. The format is
 * described in proc(5) and `<sys/procfs.h>` of illumos.
 *
 * @module
 */

import { PRXMAP } from "../../../ffi/illumos_structs.ts";
import { MalformedData, StructReader } from "../../../ffi/struct.ts";
import { endOf, pageSizeOf } from "./pagedata_file.ts";

/** One mapping. */
export interface XmapEntry {
  readonly start: bigint;
  /** Length in bytes. */
  readonly bytes: number;
  /** `MA_*`. */
  readonly flags: number;
  /** Page size, in bytes. */
  readonly pageSize: number;
  /** Resident pages. */
  readonly resident: number;
  /** Resident pages that belong to no file. */
  readonly anonymous: number;
  /** Locked pages. */
  readonly locked: number;
  /** Name of the object in `/proc/<pid>/path`; empty if there is none. */
  readonly object: string;
}

/** The smallest unit in which pages are counted, in bytes. */
const SMALLEST_PAGE = 4096;

/**
 * Checks the size of an xmap file.
 *
 * @throws MalformedData if no xmap file can have this size.
 */
export function checkXmapSize(size: number): void {
  if (size % PRXMAP.size === 0) return;
  throw new MalformedData(
    `xmap has ${size} bytes, which is not a multiple of ${PRXMAP.size}`,
  );
}

/**
 * Decodes an xmap file. Mappings are in address order.
 *
 * @throws MalformedData if the file is not valid.
 */
export function decodeXmap(file: Uint8Array): XmapEntry[] {
  checkXmapSize(file.length);
  const reader = new StructReader(PRXMAP, file);
  const entries: XmapEntry[] = [];
  let first = 0n;
  for (let at = 0; at < file.length; at += PRXMAP.size) {
    reader.moveTo(at);
    const start = reader.bigint("pr_vaddr");
    const bytes = reader.number("pr_size");
    endOf(start, bytes, first);
    first = start + 1n;
    const most = Math.ceil(bytes / SMALLEST_PAGE);
    entries.push({
      start,
      bytes,
      flags: reader.number("pr_mflags"),
      pageSize: pageSizeOf(reader.number("pr_pagesize"), PRXMAP.name),
      resident: reader.count("pr_rss", most),
      anonymous: reader.count("pr_anon", most),
      locked: reader.count("pr_locked", most),
      object: reader.text("pr_mapname"),
    });
  }
  return entries;
}
