/**
 * Which memory of a Linux process a page-out can take, and why not the rest.
 *
 * Facts: mm/madvise.c of the kernel (`MADV_PAGEOUT` refuses locked, hugetlb and
 * PFN mappings and passes over pages that others map too), and the `VmFlags` of
 * Documentation/filesystems/proc.rst.
 *
 * @module
 */

import type { SkipReason } from "../platform.ts";
import type { LinuxMapping } from "./smaps.ts";

/** Mappings that the kernel itself provides. */
const SPECIAL_NAMES: ReadonlySet<string> = new Set([
  "[vdso]",
  "[vvar]",
  "[vvar_vclock]",
  "[vsyscall]",
  "[uprobes]",
]);

/** How much of a mapping a page-out can take. */
export interface Pageable {
  /** In bytes. */
  readonly bytes: number;
  /** Why `bytes` is 0. */
  readonly reason?: SkipReason;
}

/** What the answer depends on beside the mapping. */
export interface PageableContext {
  /** Whether swap has room. */
  readonly swapFree: boolean;
  /** Devices of memory file systems, as {@linkcode LinuxMapping.device}. */
  readonly memoryDevices: ReadonlySet<string>;
}

/** How much of a mapping a page-out can take, by its figures of smaps. */
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

/**
 * Whether pages of a mapping may be worth paging out, as far as that can be told
 * without its figures.
 */
export function mayBePageable(
  mapping: LinuxMapping,
  context: PageableContext,
): boolean {
  return !whyNever(mapping) && (context.swapFree || isFile(mapping, context));
}

/** Why the kernel would page out nothing of a mapping, whatever is resident of it. */
function whyNever({ flags, name }: LinuxMapping): SkipReason | undefined {
  if (flags.has("ht")) return "hugetlb";
  if (flags.has("lo")) return "locked";
  if (flags.has("io") || flags.has("pf") || SPECIAL_NAMES.has(name)) {
    return "special";
  }
  return undefined;
}

/** Whether a mapping is of a file on a disk, so that clean pages can be dropped. */
function isFile(
  mapping: LinuxMapping,
  { memoryDevices }: PageableContext,
): boolean {
  return mapping.name.startsWith("/") && !isMemoryFile(mapping, memoryDevices);
}

/** Whether a mapping is shared memory: its pages have no home but swap. */
function isMemoryFile(
  { name, device }: LinuxMapping,
  memoryDevices: ReadonlySet<string>,
): boolean {
  return name.startsWith("/memfd:") || name.startsWith("/SYSV") ||
    name === "/dev/zero (deleted)" || name.startsWith("[anon_shmem:") ||
    memoryDevices.has(device);
}

/**
 * Devices of memory file systems in a `/proc/<pid>/mountinfo`, as
 * {@linkcode LinuxMapping.device}: their pages go to swap, not to a disk.
 */
export function memoryDevices(mountinfo: string): ReadonlySet<string> {
  const devices = new Set<string>();
  for (const line of mountinfo.split("\n")) {
    // proc_pid_mountinfo(5): field 3 is major:minor in decimal; the type of the
    // file system follows a field that is a hyphen.
    const type = / - (\S+) /.exec(line)?.[1];
    const [, major, minor] = /^\S+ \S+ (\d{1,9}):(\d{1,9}) /.exec(line) ?? [];
    if (minor === undefined) continue;
    if (type === "tmpfs" || type === "devtmpfs" || type === "ramfs") {
      devices.add(`${hex2(Number(major))}:${hex2(Number(minor))}`);
    }
  }
  return devices;
}

/** A number as maps writes those of devices. */
function hex2(number: number): string {
  return number.toString(16).padStart(2, "0");
}
