/**
 * Releases memory that rcap itself holds and does not use.
 *
 * @module
 */

import { File } from "../../../ffi/file.ts";
import { libc } from "../../../ffi/libc.ts";
import type { LinuxMapping } from "./linux_mapping.ts";
import { SmapsParser } from "./smaps.ts";

/** `MADV_DONTNEED` of include/uapi/asm-generic/mman-common.h. */
const MADV_DONTNEED = 4;

/**
 * Releases what starting up took: free memory of the C library, and pages of rcap's
 * own program, of which a daemon uses a small part. The latter stay in the page
 * cache while there is room, so they return without disk access.
 */
export function trimOwnMemory(): void {
  libc().malloc_trim?.(0n);
  for (const mapping of ownMappings()) {
    const { start, end, perm, name, anonymous } = mapping;
    // Read-only mappings without anonymous pages lose nothing.
    const isFileOnly = name.startsWith("/") && /^r-.p$/.test(perm) &&
      anonymous === 0;
    if (isFileOnly) libc().madvise(start, end - start, MADV_DONTNEED);
  }
}

function ownMappings(): LinuxMapping[] {
  using smaps = File.open("/proc/self/smaps");
  const parser = new SmapsParser({ names: "kinds" });
  const buffer = new Uint8Array(64 * 1024);
  for (;;) {
    const length = smaps.read(buffer);
    if (length === 0) return parser.end();
    parser.push(buffer.subarray(0, length));
  }
}
