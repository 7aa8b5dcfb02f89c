/**
 * Which memory of a Linux process a page-out can take, and why the rest stays.
 *
 * Facts: mm/madvise.c of the kernel (`MADV_PAGEOUT` refuses locked, hugetlb and PFN
 * mappings and skips pages that are mapped more than once; `shrink_folio_list` of
 * mm/vmscan.c skips pinned ones), and the `VmFlags` of
 * Documentation/filesystems/proc.rst.
 *
 * @module
 */

import type { SkipReason } from "../../memory/process_memory.ts";
import type { MemoryKind } from "../platform.ts";
import type { LinuxMapping } from "./linux_mapping.ts";
import { isFileName, isSpecialName } from "./mapping_names.ts";

/** How much of a mapping a page-out can take. */
export interface Pageable {
  /** In bytes. */
  readonly bytes: number;
  /** The part of it that can only go to swap. */
  readonly toSwap: number;
  /** Why `bytes` is 0. */
  readonly reason?: SkipReason;
}

/** Why a process cannot use swap. */
export type WhyNoSwap = Extract<
  SkipReason,
  "no-swap" | "swap-limit" | "swap-writes"
>;

/** What the answer depends on besides the mapping. */
export interface PageableContext {
  /** Whether swap has free space, and the process may use it. */
  readonly swapFree: boolean;
  /** Why not, if `swapFree` is false; `no-swap` by default. */
  readonly whyNoSwap?: WhyNoSwap;
  /** The kind of memory that may go; both by default. */
  readonly only?: MemoryKind;
  /** Devices of memory file systems, in the form of {@linkcode LinuxMapping.device}. */
  readonly memoryDevices: ReadonlySet<string>;
  /** As in `ProcessEntry`. */
  readonly mainThreadExited?: boolean;
  /**
   * Whether the process is left alone because a virtual machine or device uses its
   * memory, whose references do not show.
   */
  readonly hasSecondaryMmu?: boolean;
}

/** Returns how much of a mapping a page-out can take, by its smaps figures. */
export function pageable(
  mapping: LinuxMapping,
  context: PageableContext,
): Pageable {
  const { rss, own, pinned = 0, anonymous } = mapping;
  const reason = whyNever(mapping);
  if (reason) return nothing(reason);
  if (rss === 0) return nothing("nonresident");
  if (context.mainThreadExited) return nothing("no-main-thread");
  if (context.hasSecondaryMmu) return nothing("secondary-mmu");
  if (own === 0) return nothing("shared");
  const free = own - pinned;
  if (free === 0) return nothing("pinned");
  const file = isFile(mapping, context) ? Math.min(free, rss - anonymous) : 0;
  if (isSpared(mapping, context)) return nothing("spared");
  if (keepsFromSwap(context) && mayHoldCopies(mapping, context)) {
    return nothing(context.whyNoSwap ?? "spared");
  }
  if (context.swapFree) return { bytes: free, toSwap: free - file };
  return file > 0
    ? { bytes: file, toSwap: 0 }
    : nothing(context.whyNoSwap ?? "no-swap");
}

function nothing(reason: SkipReason): Pageable {
  return { bytes: 0, toSwap: 0, reason };
}

/** Whether a page-out may take pages of a mapping, judged without its figures. */
export function mayBePageable(
  mapping: LinuxMapping,
  context: PageableContext,
): boolean {
  return !whyNever(mapping) && !context.mainThreadExited &&
    !context.hasSecondaryMmu && !isSpared(mapping, context) &&
    !(keepsFromSwap(context) && mayHoldCopies(mapping, context)) &&
    (context.swapFree || isFile(mapping, context));
}

/** Whether a mapping is of the kind that does not go. */
function isSpared(mapping: LinuxMapping, context: PageableContext): boolean {
  const { only } = context;
  return only !== undefined &&
    only !== (isFile(mapping, context) ? "file" : "anon");
}

/** Whether nothing may go to swap although there is some. */
function keepsFromSwap({ only, whyNoSwap }: PageableContext): boolean {
  return only === "file" || whyNoSwap === "swap-writes";
}

/**
 * Whether a mapping of a file may hold private copies of its pages, which would go to
 * swap: it can be written to, or is known to have some.
 */
function mayHoldCopies(
  mapping: LinuxMapping,
  context: PageableContext,
): boolean {
  const { perm, anonymous } = mapping;
  return isFile(mapping, context) && perm[3] === "p" &&
    (perm[1] === "w" || anonymous > 0);
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
