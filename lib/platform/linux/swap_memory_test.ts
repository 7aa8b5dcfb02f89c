/**
 * Tests of how much memory holds what is in swap.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { memoryOfSwap } from "./swap_memory.ts";

const MIB = 2 ** 20;

function swap(path: string, used: number) {
  return { path, used: used * MIB, size: 1024 * MIB, priority: 0 };
}

/** A machine with these files. */
function files(contents: Record<string, string>) {
  const meminfo = "MemTotal: 1 kB\nZswap:       0 kB\nZswapped:   0 kB\n";
  const all: Record<string, string> = { "/proc/meminfo": meminfo, ...contents };
  return (path: string): string | undefined => all[path];
}

/** An mm_stat of a device that uses so much memory. */
const zram = (mib: number) =>
  `   ${400 * MIB} ${mib * MIB - 5000}   ${
    mib * MIB
  }        0 537309184     0     0     0  4589\n`;

Deno.test("swap on a disk takes no memory", () => {
  assertEquals(memoryOfSwap([swap("/dev/vdb", 400)], files({})), 0);
});

Deno.test("zram takes what it says", () => {
  const read = files({ "/sys/block/zram1/mm_stat": zram(100) });
  assertEquals(memoryOfSwap([swap("/dev/zram1", 400)], read), 0.25);
  // An average, if there is another swap.
  const both = [swap("/dev/zram1", 400), swap("/swapfile", 400)];
  assertEquals(memoryOfSwap(both, read), 0.125);
});

Deno.test("zswap takes what it says, by meminfo or by debugfs", () => {
  const disk = [swap("/dev/vdb", 400)];
  const meminfo = `Zswap:   ${100 * 1024} kB\nZswapped:   409600 kB\n`;
  assertEquals(memoryOfSwap(disk, files({ "/proc/meminfo": meminfo })), 0.25);
  const read = files({
    "/proc/meminfo": "MemTotal: 1 kB\n",
    "/sys/kernel/debug/zswap/pool_total_size": `${40 * MIB}\n`,
  });
  assertEquals(memoryOfSwap(disk, read), 0.1);
});

Deno.test("what cannot be read is not known", () => {
  assertEquals(memoryOfSwap([swap("/dev/zram1", 400)], files({})), undefined);
  const odd = files({ "/sys/block/zram1/mm_stat": "lots\n" });
  assertEquals(memoryOfSwap([swap("/dev/zram1", 400)], odd), undefined);
});

Deno.test("without anything in swap, no device matters", () => {
  assertEquals(memoryOfSwap([swap("/dev/zram1", 0)], files({})), 0);
  assertEquals(memoryOfSwap([], files({})), 0);
});
