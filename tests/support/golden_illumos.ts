/**
 * The fake platform of the golden cases with pagedata and xmap in illumos's
 * formats: the scanner's data is encoded as the system would, and decoded.
 *
 * @module
 */

import type { Pagedata } from "../../lib/memory/pagedata.ts";
import type { Residency } from "../../lib/memory/process_memory.ts";
import { decodePagedata } from "../../lib/platform/illumos/pagedata_file.ts";
import {
  encodePagedata,
  encodeXmap,
} from "../../lib/platform/illumos/testing.ts";
import { decodeXmap } from "../../lib/platform/illumos/xmap_file.ts";
import { xmapResidency } from "../../lib/platform/illumos/xmap_residency.ts";
import { address, GoldenMemory } from "./golden_platform.ts";

/** One process of a case. */
export class IllumosGoldenMemory extends GoldenMemory {
  override async readPagedata(): Promise<Pagedata> {
    // Throws if the case says so.
    await super.readPagedata();
    const mappings = this.scan.mappings.map((mapping) => ({
      start: address(mapping.vaddr),
      pageSize: mapping.pageSize,
      flags: mapping.flags,
      // The bit for hardware mappings is masked.
      bits: Uint8Array.from(
        mapping.referencedModified,
        (bits, page) => Number(bits) | Number(mapping.resident[page]) << 2,
      ),
    }));
    return decodePagedata(encodePagedata(mappings));
  }

  override async readResidency(): Promise<
    ReadonlyMap<bigint, Residency> | undefined
  > {
    const expected = await super.readResidency();
    if (!expected) return undefined;
    const mappings = this.scan.mappings.flatMap((mapping, index) => {
      if (mapping.xmap === "absent") return [];
      const { pageSize, flags } = mapping;
      const resident = this.residentOf(index);
      const pages = mapping.pages + (mapping.xmap === "mismatch" ? 1 : 0);
      const anonymous = Math.min(mapping.anonPages, resident);
      const start = address(mapping.vaddr);
      const bytes = pages * pageSize;
      return [{ start, bytes, pageSize, flags, resident, anonymous }];
    });
    const entries = decodeXmap(encodeXmap(mappings));
    return new Map(
      entries.map((entry) => [entry.start, xmapResidency(entry)]),
    );
  }
}
