/**
 * How much memory holds what is in swap: zram and zswap keep it there, compressed.
 *
 * @module
 */

import { readTextFile, readTextFileIfAny } from "../../../ffi/file.ts";
import { isDenied, isMissing, SystemError } from "../../errors.ts";
import { sizeIn } from "./status_sizes.ts";
import { hasZswap, type Swap, swapsIfKnown } from "./swaps.ts";

/** A device of compressed memory: Documentation/admin-guide/blockdev/zram.rst. */
const ZRAM = /^\/dev\/(zram\d+)$/;

/** Where kernels before 5.19 show how much memory zswap uses: mm/zswap.c. */
const ZSWAP_POOL = "/sys/kernel/debug/zswap/pool_total_size";

/** Reads what is there of a file; `undefined` if it is missing or may not be read. */
export type ReadIfAny = (path: string) => string | undefined;

/**
 * Returns how many bytes of memory the machine spends for each byte in swap, by the
 * devices' own figures and on average over all swap; 0 if nothing is in swap, and
 * `undefined` if a figure cannot be read.
 */
export function memoryOfSwap(
  all: readonly Swap[] | undefined = swapsIfKnown(),
  read: ReadIfAny = readIfAny,
): number | undefined {
  if (!all) return undefined;
  const used = all.reduce((sum, swap) => sum + swap.used, 0);
  if (used === 0) return 0;
  let memory = memoryOfZswap(read);
  for (const { path } of all) {
    const device = ZRAM.exec(path)?.[1];
    if (device === undefined || memory === undefined) continue;
    const own = parseZram(read(`/sys/block/${device}/mm_stat`) ?? "");
    memory = own === undefined ? undefined : memory + own;
  }
  return memory === undefined ? undefined : memory / used;
}

/** How much memory a zram device uses, by its `mm_stat`, in bytes. */
export function parseZram(stat: string): number | undefined {
  // orig_data_size compr_data_size mem_used_total …
  const used = /^\s*\d+\s+\d+\s+(\d{1,16})\s/.exec(stat)?.[1];
  return used === undefined ? undefined : Number(used);
}

/** How much memory zswap uses, in bytes. */
function memoryOfZswap(read: ReadIfAny): number | undefined {
  const size = sizeIn(read("/proc/meminfo") ?? "", "Zswap");
  if (size !== undefined) return size;
  const pool = read(ZSWAP_POOL);
  if (pool !== undefined && /^\d{1,16}\n$/.test(pool)) return Number(pool);
  return hasZswap() ? undefined : 0;
}

function readIfAny(path: string): string | undefined {
  try {
    return path.startsWith("/proc/")
      ? readTextFile(path)
      : readTextFileIfAny(path);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    if (!isMissing(error) && !isDenied(error)) throw error;
    return undefined;
  }
}
