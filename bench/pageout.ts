/**
 * Measures page-outs: microseconds per page of a process that sleeps, of one that
 * runs and is followed to its processor, and of one that runs on another. It only
 * reports.
 *
 * Needs root, gcc and zram.
 *
 * @module
 */

import { libc } from "../ffi/libc.ts";
import { memoryInfo, pageSize } from "../ffi/system.ts";
import { ownUsage } from "../ffi/usage.ts";
import type {
  PageoutControl,
  PageRange,
} from "../lib/memory/process_memory.ts";
import { MemoryCalls } from "../lib/platform/linux/memory_calls.ts";
import { LinuxPageout } from "../lib/platform/linux/pageout.ts";
import { readProcess } from "../lib/platform/linux/process_list.ts";
import { LinuxProcessMemory } from "../lib/platform/linux/process_memory.ts";
import { SmapsSource } from "../lib/platform/linux/smaps_source.ts";
import { type Column, renderTable } from "../lib/report/table.ts";
import { zramSwap } from "../tests/support/swap.ts";
import { median } from "../lib/platform/linux/median.ts";
import {
  compileGenerators,
  RunningWorkload,
  WORKLOADS,
} from "./support/workloads.ts";
import { say } from "../tests/support/say.ts";

const SIZE = 2 ** 30;
const ROUNDS = 7;
/** Pages that are paged out in one measurement, and how many of them are adjacent. */
const PAGES = 1024;
const LENGTHS = [1, 64];

/** States of a process while it is paged out. */
const STATES = ["stopped", "running, followed", "running elsewhere"] as const;

interface Row {
  readonly state: typeof STATES[number];
  readonly length: number;
  /** In microseconds per page. */
  readonly wall: number[];
  readonly cpu: number[];
}

const page = pageSize();
await using held = new AsyncDisposableStack();
held.use(await zramSwap({ size: 2 * SIZE }));
const programs = await compileGenerators(held);
const kind = WORKLOADS.find(({ name }) => name === "hotcold")!;
const workload = held.use(
  await RunningWorkload.start(kind, {
    size: SIZE,
    exponent: 0,
    redisKeys: 0,
    redisValue: 0,
    fleet: 0,
    fleetSize: 0,
    awake: 0,
  }, { programs }),
);
const id = readProcess(workload.pid);
const calls = new MemoryCalls();
const memory = new LinuxProcessMemory(id, { source: new SmapsSource(), calls });
const mappings = await memory.readMappings();
const { start: mappingStart } = mappings.reduce((largest, one) =>
  one.rss > largest.rss ? one : largest
);
using control = await LinuxPageout.open(id, {
  calls,
  layout: id.layout,
  needsSwap: () => true,
  whyNoSwap: () => memoryInfo().freeSwap === 0 ? "no-swap" : undefined,
});

const rows: Row[] = LENGTHS.flatMap((length) =>
  STATES.map((state) => ({ state, length, wall: [], cpu: [] }))
);
// The first 40 % are hot, and no page of the rest is paged out twice.
let at = Math.ceil(SIZE / page * 0.4);
for (let round = 0; round < ROUNDS; round++) {
  for (const row of rows) {
    const { length } = row;
    const ranges: PageRange[] = [];
    for (let pages = 0; pages < PAGES; pages += length) {
      const start = mappingStart + BigInt(at * page);
      const bytes = length * page;
      const end = start + BigInt(bytes);
      ranges.push({ start, end, bytes, mappingStart, isResident: true });
      // A gap, so that no two ranges are adjacent.
      at += length + 1;
    }
    const { wall, cpu } = await measure(control, ranges, row.state);
    row.wall.push(wall);
    row.cpu.push(cpu);
  }
}

const columns: Column<Row>[] = [
  { name: "process", kind: "text", value: ({ state }) => state },
  {
    name: "pages",
    kind: "text",
    value: ({ length }) => length === 1 ? "alone" : `${length}`,
  },
  { name: "CPU µs/page", kind: "number", value: ({ cpu }) => spread(cpu) },
  { name: "µs/page", kind: "number", value: ({ wall }) => spread(wall) },
];
say(
  `${PAGES} pages at a time to zram, alone or 64 in a row; median of ${ROUNDS} rounds, with minimum and maximum\n`,
);
say(
  renderTable(columns, { rows, bare: false, exact: false, color: false }),
);

async function measure(
  control: PageoutControl,
  ranges: PageRange[],
  state: Row["state"],
): Promise<{ wall: number; cpu: number }> {
  using stopped = new DisposableStack();
  if (state === "stopped") {
    Deno.kill(workload.pid, "SIGSTOP");
    stopped.defer(() => Deno.kill(workload.pid, "SIGCONT"));
  }
  // A thread that is pinned to one processor does not follow the process.
  using _pinned = state === "running elsewhere" ? pinned() : undefined;
  const [began, before] = [performance.now(), ownUsage().cpu];
  await control.pageOut(ranges);
  const wall = (performance.now() - began) * 1000 / PAGES;
  const cpu = (ownUsage().cpu - before) * 1e6 / PAGES;
  return { wall, cpu };
}

/** Pins the main thread to one processor until disposed. */
function pinned(): Disposable {
  const [before, only] = [new Uint8Array(1024), new Uint8Array(1024)];
  libc().sched_getaffinity(0, 1024n, before);
  only[0] = 1;
  libc().sched_setaffinity(0, 1024n, only);
  return {
    [Symbol.dispose]: () => void libc().sched_setaffinity(0, 1024n, before),
  };
}

function spread(times: readonly number[]): string {
  const [middle, least, most] = [
    median(times),
    Math.min(...times),
    Math.max(...times),
  ].map((time) => time.toFixed(1));
  return `${middle} (${least} to ${most})`;
}
