/**
 * The swap of the machine: `/proc/swaps`, proc_swaps(5).
 *
 * @module
 */

import { readTextFile, readTextFileIfAny } from "../../../ffi/file.ts";
import { SystemError } from "../../errors.ts";

/** A device or file that the machine swaps to. Sizes are in bytes. */
export interface Swap {
  readonly path: string;
  readonly size: number;
  readonly used: number;
  /** Swap with a higher priority is used first; equals take turns: swapon(2). */
  readonly priority: number;
}

/**
 * Reads what the machine swaps to.
 *
 * @throws SystemError if `/proc/swaps` cannot be read.
 */
export function swaps(): Swap[] {
  return parseSwaps(readTextFile("/proc/swaps"));
}

/**
 * {@linkcode swaps}; `undefined` if `/proc/swaps` cannot be read, as under a `/proc` that
 * was mounted with subset=pid.
 */
export function swapsIfKnown(): Swap[] | undefined {
  try {
    return swaps();
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return undefined;
  }
}

/** Parses a `/proc/swaps`, without its header line. */
export function parseSwaps(text: string): Swap[] {
  return text.split("\n").slice(1).flatMap((line) => {
    const [, path, size, used, priority] =
      /^(\S+)\s+\S+\s+(\d{1,15})\s+(\d{1,15})\s+(-?\d{1,6})$/.exec(line) ?? [];
    if (path === undefined) return [];
    return [{
      path,
      size: Number(size) * 1024,
      used: Number(used) * 1024,
      priority: Number(priority),
    }];
  });
}

/**
 * Returns the swap to which the next pages go: those of the highest priority with room.
 *
 * @param room how much of it must be free, in bytes.
 */
export function firstSwaps(all: readonly Swap[], room: number): Swap[] {
  const free = all.filter(({ size, used }) => size - used >= room);
  const highest = Math.max(...free.map(({ priority }) => priority));
  return free.filter(({ priority }) => priority === highest);
}

/** A device of compressed memory: Documentation/admin-guide/blockdev/zram.rst. */
const ZRAM = /^\/dev\/zram\d+$/;

/**
 * Returns the device or file on a disk to which the next pages go, or a part of them;
 * `undefined` if they go to zram or nowhere, and null if that is not known.
 *
 * @param totalSwap how much swap the machine has, in bytes, which is always known.
 */
export function swapDisk(
  all: readonly Swap[] | undefined,
  totalSwap: number,
): string | null | undefined {
  if (!all) return totalSwap > 0 ? null : undefined;
  return firstSwaps(all, 1).find(({ path }) => !ZRAM.test(path))?.path;
}

/**
 * Whether zswap compresses what goes to swap, and keeps it in memory while it has room:
 * Documentation/admin-guide/mm/zswap.rst.
 */
export function hasZswap(): boolean {
  const enabled = readTextFileIfAny("/sys/module/zswap/parameters/enabled");
  return enabled?.trim() === "Y";
}
