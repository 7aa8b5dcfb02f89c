/**
 * Test helpers: encode the files of illumos's `/proc`.
 *
 * @module
 */

import {
  PRASMAP,
  PRPAGEHEADER,
  PRXMAP,
  PSINFO,
} from "../../../ffi/illumos_structs.ts";
import type { Struct } from "../../../ffi/struct.ts";

/** Values by field: numbers or texts. */
type Values<Name extends string> = Partial<Record<Name, Value>>;
type Value = number | bigint | string;

/** Writes a structure into a buffer. */
function writeStruct<Name extends string>(
  bytes: Uint8Array,
  at: number,
  { struct, values }: { struct: Struct<Name>; values: Values<Name> },
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, struct.size);
  const fields: Struct["fields"] = struct.fields;
  for (const [name, value] of Object.entries<Value | undefined>(values)) {
    const [offset, kind] = fields[name];
    if (value === undefined) continue;
    if (typeof value === "string") {
      bytes.set(new TextEncoder().encode(value), at + offset);
      continue;
    }
    const number = BigInt.asUintN(64, BigInt(value));
    if (kind === "i32" || kind === "u32") {
      view.setUint32(offset, Number(number & 0xffff_ffffn), true);
    } else view.setBigUint64(offset, number, true);
  }
}

/** A mapping of pagedata, with one byte per page. */
export interface PagedataExample {
  readonly start: bigint;
  readonly pageSize: number;
  readonly flags: number;
  readonly bits: Uint8Array;
}

/** Encodes a pagedata file. */
export function encodePagedata(
  mappings: readonly PagedataExample[],
): Uint8Array<ArrayBuffer> {
  const size = mappings.reduce(
    (size, { bits }) => size + PRASMAP.size + round8(bits.length),
    PRPAGEHEADER.size,
  );
  const file = new Uint8Array(size);
  const pages = mappings.reduce((sum, { bits }) => sum + bits.length, 0);
  writeStruct(file, 0, {
    struct: PRPAGEHEADER,
    values: {
      pr_tstamp_sec: 1000,
      pr_nmap: mappings.length,
      pr_npage: pages,
    },
  });
  let at = PRPAGEHEADER.size;
  for (const { start, pageSize, flags, bits } of mappings) {
    writeStruct(file, at, {
      struct: PRASMAP,
      values: {
        pr_vaddr: start,
        pr_npage: bits.length,
        pr_mapname: "a.out",
        pr_mflags: flags,
        pr_pagesize: pageSize,
        pr_shmid: -1,
      },
    });
    file.set(bits, at + PRASMAP.size);
    at += PRASMAP.size + round8(bits.length);
  }
  return file;
}

/** A mapping of xmap. Counts are in pages. */
export interface XmapExample {
  readonly start: bigint;
  readonly bytes: number;
  readonly pageSize: number;
  readonly flags: number;
  readonly resident: number;
  readonly anonymous: number;
  readonly locked?: number;
  readonly object?: string;
}

/** Encodes an xmap file. */
export function encodeXmap(
  mappings: readonly XmapExample[],
): Uint8Array<ArrayBuffer> {
  const file = new Uint8Array(mappings.length * PRXMAP.size);
  for (const [index, mapping] of mappings.entries()) {
    writeStruct(file, index * PRXMAP.size, {
      struct: PRXMAP,
      values: {
        pr_vaddr: mapping.start,
        pr_size: mapping.bytes,
        pr_mapname: mapping.object ?? "",
        pr_mflags: mapping.flags,
        pr_pagesize: mapping.pageSize,
        pr_shmid: -1,
        pr_rss: mapping.resident,
        pr_anon: mapping.anonymous,
        pr_locked: mapping.locked ?? 0,
        pr_hatpagesize: mapping.pageSize,
      },
    });
  }
  return file;
}

/** Encodes a psinfo file. */
export function encodePsinfo(
  values: Values<keyof typeof PSINFO.fields>,
): Uint8Array<ArrayBuffer> {
  const file = new Uint8Array(PSINFO.size);
  writeStruct(file, 0, { struct: PSINFO, values });
  return file;
}

function round8(size: number): number {
  return Math.ceil(size / 8) * 8;
}
