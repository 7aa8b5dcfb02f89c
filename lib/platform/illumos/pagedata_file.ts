/**
 * `/proc/<pid>/pagedata` of illumos: per mapping a header and a byte a page. The
 * format is described in proc(5) and `<sys/procfs.h>` of illumos.
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

/** Mappings begin at multiples of this many bytes. */
const ALIGNMENT = 8;

/** Addresses are below this. */
const ADDRESSES = 2n ** 64n;

/**
 * Decodes a pagedata file. Every page is recorded, in memory or not, for the
 * format does not tell.
 *
 * The bytes of the pages stay where they are, moved together: the file's bytes
 * become those of the result, and must not be used otherwise any more.
 *
 * @param bits which bits of a page to keep; by default those the scanner knows.
 * @throws MalformedData when it is none.
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
    // A mapping is in front of the bytes that follow it, so these only move down,
    // and never over a header that is still to be read.
    keepBits(file, { from: at, to: kept, count: mapping.pages, bits });
    at += mapping.pages;
    kept += mapping.pages;
    runOffset[index + 1] = kept;
    mappings.push(mapping);
  }
  if (kept !== pages) {
    throw new MalformedData(
      `prpageheader_t.pr_npage is ${pages}, and there are ${kept} pages`,
    );
  }
  if (file.length !== at && file.length !== aligned(at)) {
    throw new MalformedData(
      `pagedata has ${file.length} bytes, and its mappings end at ${at}`,
    );
  }
  return { mappings, runPage, runOffset, bits: file.subarray(0, kept) };
}

/** Moves the bytes of pages down, and leaves only some bits in them. */
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
 * A page size.
 *
 * @throws MalformedData when it is no power of two.
 */
export function pageSizeOf(value: number, struct: string): number {
  if (value <= 0 || (value & (value - 1)) !== 0) {
    throw new MalformedData(
      `${struct}.pr_pagesize is ${value}, which is no power of two`,
    );
  }
  return value;
}

/**
 * The end of a mapping.
 *
 * @param before where it may begin at the earliest.
 * @throws MalformedData when it begins before that, or ends beyond all addresses.
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
