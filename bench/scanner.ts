/**
 * Measures the scanner's hot loops: nanoseconds of processor time per recorded page,
 * compared with plain passes over the same bytes in the same run. It only reports and
 * never fails.
 *
 * @module
 */

import { cpuUsage } from "node:process";
import {
  type Pagedata,
  PagedataBuilder,
  REFERENCED,
  unreferencedBytes,
} from "../lib/memory/pagedata.ts";
import { type Column, renderTable } from "../lib/report/table.ts";
import { PageAges, type PageAgesOptions } from "../lib/scanner/ages.ts";
import { IgnoredSet } from "../lib/scanner/ignored_set.ts";
import { mergePagedata } from "../lib/scanner/merge.ts";
import { takeUnreferencedRange } from "../lib/scanner/walk.ts";
import { say } from "../tests/support/say.ts";

const PAGES = 4_000_000;
const MAPPINGS = 64;
const PAGE_SIZE = 4096;
const REFERENCED_SHARE = 0.25;

const WARM_UP = 3;
const ROUNDS = 15;

/** The sum of all results, so that no loop can be optimized away. */
let sink = 0;

/** Random numbers from 0 to 1 that are the same in every run (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface AddressSpaceOptions {
  seed: number;
  /** Probability that a recorded page is followed by one that is not, from 0 to 1. */
  holes: number;
  /** Seed of their places. */
  layout?: number;
  /** Share of the pages that are referenced, from 0 to 1. */
  share?: number;
  /** By how many recorded pages each mapping is smaller. */
  missing?: number;
}

/** {@linkcode PAGES} recorded pages in {@linkcode MAPPINGS} mappings. */
function addressSpace(
  { seed, holes, layout = 1, share = REFERENCED_SHARE, missing = 0 }:
    AddressSpaceOptions,
): Pagedata {
  const random = randomNumbers(seed);
  const randomHole = randomNumbers(layout);
  const builder = new PagedataBuilder();
  const recorded = PAGES / MAPPINGS;
  for (let i = 0; i < MAPPINGS; i++) {
    const start = BigInt(i) * 2n ** 32n;
    const pages = recorded * 2;
    builder.addMapping({ start, pages, pageSize: PAGE_SIZE, flags: 0 });
    let page = 0;
    for (let at = 0; at < recorded - missing; at++) {
      const bits = random() < share ? REFERENCED : 0;
      builder.addPages(page, { count: 1, bits });
      page += randomHole() < holes ? 2 : 1;
    }
  }
  return builder.build();
}

/** A loop to measure. */
interface Bench {
  readonly name: string;
  /** Undoes the effects of `run`, outside the measured time. */
  readonly prepare?: () => void;
  readonly run: () => number;
  /** A loop that does more, in turns with this one: what it adds is a row of its own. */
  readonly beside?: Bench;
}

/** The loops to measure on one kind of address space. */
function benchesOf(holes: number): Bench[] {
  const previous = addressSpace({ seed: 1, holes });
  const next = addressSpace({ seed: 2, holes });
  // If other pages are recorded than before, merging works run by run.
  const other = addressSpace({ seed: 1, holes, layout: 2, missing: 1 });
  // Upkeep of the ignored set stops at the first referenced page of a mapping.
  // Without any, it examines every page of every mapping.
  const idle = addressSpace({ seed: 3, holes, share: 0 });
  const ignored = new IgnoredSet();
  for (const mapping of idle.mappings) ignored.add(mapping);
  const original = next.bits.slice();
  const restore = () => next.bits.set(original);
  const copy = new Uint8Array(PAGES);
  const agesOf = (
    readings: readonly Pagedata[],
    options?: PageAgesOptions,
  ) => {
    const ages = new PageAges(options);
    let turn = 0;
    return () => {
      ages.advance(readings[turn++ % readings.length], 5);
      return ages.used[0];
    };
  };
  const pairs = new Uint32Array(65_536);
  const words = new DataView(original.buffer);
  return [
    {
      name: "baseline: copy the bytes",
      run: () => {
        copy.set(original);
        return copy[PAGES - 1];
      },
    },
    {
      name: "baseline: sum the bytes one by one",
      run: () => {
        let sum = 0;
        for (let at = 0; at < PAGES; at++) sum += original[at];
        return sum;
      },
    },
    {
      // What counting pages in use again adds to ageing, as a loop of its own.
      name: "baseline: count the bytes by pairs",
      run: () => {
        for (let at = 0; at < PAGES; at += 4) {
          const word = words.getInt32(at, true);
          pairs[word & 0xffff]++;
          pairs[word >>> 16]++;
        }
        return pairs[0];
      },
    },
    {
      name: "merge two readings",
      prepare: restore,
      run: () => Number(mergePagedata(previous, next)),
    },
    {
      name: "merge two readings of other pages",
      prepare: restore,
      run: () => Number(mergePagedata(other, next)),
    },
    {
      name: "age by an interval",
      prepare: restore,
      run: agesOf([previous, next]),
      beside: {
        name: "age, and count what was used again",
        prepare: restore,
        run: agesOf([previous, next], { originOf: () => "swap" }),
      },
    },
    {
      name: "age by an interval, other pages",
      prepare: restore,
      run: agesOf([other, next]),
    },
    {
      name: "count unreferenced pages",
      prepare: restore,
      run: () => unreferencedBytes(next),
    },
    {
      name: "ignored-set upkeep",
      run: () => {
        ignored.removeReferenced(idle);
        return ignored.size;
      },
    },
    {
      // Finding ranges clears the bits that the walk passes.
      name: "find all ranges",
      prepare: restore,
      run: () => countRanges(next),
    },
  ];
}

/** Walks over a whole address space as a scan with unlimited excess would. */
function countRanges(pagedata: Pagedata): number {
  let ranges = 0;
  for (let mapping = 0; mapping < pagedata.mappings.length; mapping++) {
    let page: number | undefined = 0;
    while (page !== undefined) {
      const range = takeUnreferencedRange(
        pagedata,
        { mapping, page },
        Infinity,
      );
      if (range) ranges++;
      page = range?.more ? range.endPage : undefined;
    }
  }
  return ranges;
}

/** A row of the table. */
interface Measured {
  readonly recorded: string;
  readonly loop: string;
  /** Fastest first, in nanoseconds per page. */
  readonly times: number[];
}

/** Times of a loop, of the one beside it and of what that adds, if there is one. */
function measure(bench: Bench): Omit<Measured, "recorded">[] {
  const { name, beside } = bench;
  const times: number[] = [];
  const more: number[] = [];
  for (let round = 0; round < WARM_UP + ROUNDS; round++) {
    const [one, other] = [timeOf(bench), beside && timeOf(beside)];
    if (round < WARM_UP) continue;
    times.push(one);
    if (other !== undefined) more.push(other);
  }
  const row = (loop: string, some: readonly number[]) => ({
    loop,
    times: some.toSorted((a, b) => a - b),
  });
  return beside === undefined ? [row(name, times)] : [
    row(name, times),
    row(beside.name, more),
    row("of that, counting", more.map((time, round) => time - times[round])),
  ];
}

/**
 * The processor time of one pass, in nanoseconds per page. Unlike the time that passes, it
 * does not depend on what else the machine does, as far as that shares no caches.
 */
function timeOf({ prepare, run }: Bench): number {
  prepare?.();
  const before = cpuUsage();
  sink += run();
  const { user, system } = cpuUsage(before);
  return (user + system) * 1000 / PAGES;
}

const columns: Column<Measured>[] = [
  { name: "recorded", kind: "text", value: ({ recorded }) => recorded },
  { name: "loop", kind: "text", value: ({ loop }) => loop },
  { name: "ns/page", kind: "number", value: ({ times }) => at(times, 0.5) },
  { name: "min", kind: "number", value: ({ times }) => at(times, 0) },
  { name: "max", kind: "number", value: ({ times }) => at(times, 1) },
];

/** The time that a share of all rounds did not exceed, with two decimals. */
function at(times: number[], share: number): string {
  return times[Math.round(share * (ROUNDS - 1))].toFixed(2);
}

const rows: Measured[] = [];
for (
  const [recorded, holes] of [
    ["all pages", 0],
    ["4 in 5", 0.25],
    ["every 2nd", 1],
  ] as const
) {
  for (const bench of benchesOf(holes)) {
    rows.push(...measure(bench).map((row) => ({ recorded, ...row })));
  }
}
say(
  `${PAGES / 1e6} million recorded pages in ${MAPPINGS} mappings, ` +
    `${
      REFERENCED_SHARE * 100
    } % referenced; processor time, median of ${ROUNDS} rounds\n`,
);
say(
  renderTable(columns, { rows, bare: false, exact: false, color: false }),
);
say(`Deno ${Deno.version.deno}, check ${sink}`);
