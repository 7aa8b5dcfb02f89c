/**
 * Which memory of a Linux process a page-out can take, and why the rest stays.
 *
 * Facts: mm/madvise.c of the kernel (`MADV_PAGEOUT` refuses locked, hugetlb and PFN
 * mappings and skips pages that other processes map too), and the `VmFlags` of
 * Documentation/filesystems/proc.rst.
 *
 * @module
 */

import type { SkipReason } from "../../memory/process_memory.ts";
import type { LinuxMapping } from "./linux_mapping.ts";
import { isFileName, isSpecialName } from "./mapping_names.ts";

/** How much of a mapping a page-out can take. */
export interface Pageable {
  /** In bytes. */
  readonly bytes: number;
  /** Why `bytes` is 0. */
  readonly reason?: SkipReason;
}

/** What the answer depends on besides the mapping. */
export interface PageableContext {
  /** Whether swap has free space. */
  readonly swapFree: boolean;
  /** Devices of memory file systems, in the form of {@linkcode LinuxMapping.device}. */
  readonly memoryDevices: ReadonlySet<string>;
}

/** Returns how much of a mapping a page-out can take, by its smaps figures. */
export function pageable(
  mapping: LinuxMapping,
  context: PageableContext,
): Pageable {
  const { rss, shared, anonymous } = mapping;
  const reason = whyNever(mapping);
  if (reason) return { bytes: 0, reason };
  if (rss === 0) return { bytes: 0, reason: "nonresident" };
  if (shared >= rss) return { bytes: 0, reason: "shared" };
  const own = rss - shared;
  if (context.swapFree) return { bytes: own };
  if (!isFile(mapping, context)) return { bytes: 0, reason: "no-swap" };
  const file = Math.min(own, rss - anonymous);
  return file > 0 ? { bytes: file } : { bytes: 0, reason: "no-swap" };
}

/** Whether a page-out may take pages of a mapping, judged without its figures. */
export function mayBePageable(
  mapping: LinuxMapping,
  context: PageableContext,
): boolean {
  return !whyNever(mapping) && (context.swapFree || isFile(mapping, context));
}

/** Returns why the kernel never pages out any of a mapping, whatever its resident size. */
function whyNever({ flags, name }: LinuxMapping): SkipReason | undefined {
  if (flags.has("ht")) return "hugetlb";
  if (flags.has("lo")) return "locked";
  if (flags.has("io") || flags.has("pf") || isSpecialName(name)) {
    return "special";
  }
  return undefined;
}

/** Whether a mapping maps a file on disk, so that clean pages can be dropped. */
function isFile(
  { name, device }: LinuxMapping,
  { memoryDevices }: PageableContext,
): boolean {
  return isFileName(name) && !memoryDevices.has(device);
}
