/**
 * `/proc/<pid>/pagedata` of illumos: for each mapping a header and one byte per page.
 * The format is described in proc(5) and `<sys/procfs.h>` of illumos.
 *
 * @module
 */

import { PRASMAP, PRPAGEHEADER } from "../../../ffi/illumos_structs.ts";
import { MalformedData, StructReader } from "../../../ffi/struct.ts";
import {
  MODIFIED,
  type Pagedata,
  type PagedataMapping,
  REFERENCED,
} from "../../memory/pagedata.ts";

/** The headers of mappings are aligned to this many bytes. */
const ALIGNMENT = 8;

/** Addresses are below this. */
const ADDRESSES = 2n ** 64n;

/**
 * Decodes a pagedata file. Records every page, since the format does not show which
 * ones are resident.
 *
 * Compacts the bytes of the pages in place: the result refers to the buffer of the
 * file, which the caller must not use any more.
 *
 * @param bits which bits of a page to keep; by default those that the scanner uses.
 * @throws MalformedData if the file is not valid.
 */
export function decodePagedata(
  file: Uint8Array,
  bits: number = REFERENCED | MODIFIED,
): Pagedata {
  const header = new StructReader(PRPAGEHEADER, file);
  header.moveTo(0);
  const left = file.length - PRPAGEHEADER.size;
  const count = header.count("pr_nmap", Math.floor(left / PRASMAP.size));
  const pages = header.count("pr_npage", left - count * PRASMAP.size);

  const mappings: PagedataMapping[] = [];
  const runPage = new Float64Array(count);
  const runOffset = new Uint32Array(count + 1);
  const reader = new StructReader(PRASMAP, file);
  let at = PRPAGEHEADER.size;
  let end = 0n;
  let kept = 0;
  for (let index = 0; index < count; index++) {
    at = aligned(at);
    reader.moveTo(at);
    at += PRASMAP.size;
    const mapping = {
      start: reader.bigint("pr_vaddr"),
      pages: reader.count("pr_npage", file.length - at),
      pageSize: pageSizeOf(reader.number("pr_pagesize"), PRASMAP.name),
      flags: reader.number("pr_mflags"),
      firstRun: index,
      endRun: index + 1,
    };
    if (mapping.pages === 0) {
      throw new MalformedData("prasmap_t.pr_npage is 0");
    }
    end = endOf(mapping.start, mapping.pages * mapping.pageSize, end);
    // Each header precedes its bytes, so the bytes only move down, and never overwrite
    // a header that has not been read yet.
    keepBits(file, { from: at, to: kept, count: mapping.pages, bits });
    at += mapping.pages;
    kept += mapping.pages;
    runOffset[index + 1] = kept;
    mappings.push(mapping);
  }
  if (kept !== pages) {
    throw new MalformedData(
      `prpageheader_t.pr_npage is ${pages}, but there are ${kept} pages`,
    );
  }
  if (file.length !== at && file.length !== aligned(at)) {
    throw new MalformedData(
      `pagedata has ${file.length} bytes, but its mappings end at ${at}`,
    );
  }
  return { mappings, runPage, runOffset, bits: file.subarray(0, kept) };
}

/** Moves the bytes of pages down, and keeps only some of their bits. */
function keepBits(
  file: Uint8Array,
  { from, to, count, bits }: {
    from: number;
    to: number;
    count: number;
    bits: number;
  },
): void {
  for (let page = 0; page < count; page++) {
    file[to + page] = file[from + page] & bits;
  }
}

function aligned(at: number): number {
  return Math.ceil(at / ALIGNMENT) * ALIGNMENT;
}

/**
 * Checks a page size.
 *
 * @throws MalformedData if it is not a power of two.
 */
export function pageSizeOf(value: number, struct: string): number {
  if (value <= 0 || (value & (value - 1)) !== 0) {
    throw new MalformedData(
      `${struct}.pr_pagesize is ${value}, which is not a power of two`,
    );
  }
  return value;
}

/**
 * Returns the end of a mapping.
 *
 * @param before the lowest address at which it may start.
 * @throws MalformedData if it starts before that, or ends beyond the address space.
 */
export function endOf(start: bigint, bytes: number, before: bigint): bigint {
  const end = start + BigInt(bytes);
  if (start < before || end > ADDRESSES) {
    throw new MalformedData(
      `a mapping at 0x${start.toString(16)} of ${bytes} bytes is out of order`,
    );
  }
  return end;
}
