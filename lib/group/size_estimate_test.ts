/**
 * Tests of sizes between two readings of footprints: simulated processes share memory,
 * and the estimate is compared with what a reading would say.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Footprint } from "../platform/platform.ts";
import { estimateSize, type SampledSizes } from "./size_estimate.ts";

const MIB = 2 ** 20;

/** Processes that map a segment of shared memory, and have memory of their own. */
class Backends {
  /** For each page of the segment, the backends that map it. */
  readonly #sharers: Set<number>[];
  readonly own: number[];

  constructor(count: number, pages: number, own: number) {
    this.#sharers = Array.from({ length: pages }, () => new Set());
    this.own = Array.from({ length: count }, () => own);
  }

  /** A backend uses pages of the segment, and so maps them. */
  use(backend: number, from: number, to: number): void {
    for (const page of this.#sharers.slice(from, to)) page.add(backend);
  }

  /** A backend exits. */
  exit(backend: number): void {
    for (const page of this.#sharers) page.delete(backend);
    this.own[backend] = 0;
  }

  sizes(backend: number): SampledSizes {
    const pages = this.#sharers.filter((page) => page.has(backend));
    const fileRss = pages.length * MIB;
    return { rss: fileRss + this.own[backend], fileRss, rssError: 0 };
  }

  footprint(backend: number): Footprint {
    const { rss, fileRss } = this.sizes(backend);
    const fileProportional = this.#sharers
      .filter((page) => page.has(backend))
      .reduce((sum, { size }) => sum + MIB / size, 0);
    const proportional = this.own[backend] + fileProportional;
    return { rss, fileRss, proportional, fileProportional };
  }

  read(backend: number) {
    return { footprint: this.footprint(backend), then: this.sizes(backend) };
  }

  /** What the readings sum up to. */
  get proportional(): number {
    return this.own.reduce(
      (sum, _, backend) => sum + this.footprint(backend).proportional,
      0,
    );
  }
}

Deno.test("right after a reading, the estimate is what was read", () => {
  const backends = new Backends(4, 100, 3 * MIB);
  for (const backend of [0, 1, 2]) backends.use(backend, 0, 30 * (backend + 1));
  for (const backend of [0, 1, 2, 3]) {
    const reading = backends.read(backend);
    assertEquals(
      estimateSize(reading, reading.then),
      Math.round(reading.footprint.proportional),
    );
  }
});

Deno.test("backends that map more and more of the same segment do not make the size jump", () => {
  const count = 20;
  const backends = new Backends(count, 400, 2 * MIB);
  const all = Array.from({ length: count }, (_, backend) => backend);
  for (const backend of all) backends.use(backend, 0, 100);
  const readings = all.map((backend) => backends.read(backend));
  const before = backends.proportional;
  let bound = 0;
  for (let pages = 110; pages <= 400; pages += 10) {
    for (const backend of all) backends.use(backend, 0, pages);
    const estimate = readings.reduce(
      (sum, reading, backend) =>
        sum + estimateSize(reading, backends.sizes(backend)),
      0,
    );
    const real = backends.proportional;
    assert(Math.abs(estimate - real) < real / 100, `${estimate} of ${real}`);
    bound = before + count * (pages - 100) * MIB;
  }
  // The size as last read plus the growth of RSS was 14 times as much.
  assert(bound > 10 * backends.proportional);
});

Deno.test("memory of its own counts in full, paged out or come back", () => {
  const backends = new Backends(2, 100, 50 * MIB);
  for (const backend of [0, 1]) backends.use(backend, 0, 100);
  const reading = backends.read(0);
  for (const own of [50, 10, 0, 70]) {
    backends.own[0] = own * MIB;
    assertEquals(estimateSize(reading, backends.sizes(0)), (own + 50) * MIB);
  }
});

Deno.test("when sharers exit, the estimate is too small until the next reading, and never below the own part", () => {
  const backends = new Backends(4, 100, 10 * MIB);
  for (const backend of [0, 1, 2, 3]) backends.use(backend, 0, 100);
  const reading = backends.read(0);
  for (const backend of [1, 2, 3]) backends.exit(backend);
  assertEquals(estimateSize(reading, backends.sizes(0)), 35 * MIB);
  const again = backends.read(0);
  assertEquals(estimateSize(again, backends.sizes(0)), 110 * MIB);
});

Deno.test("anonymous memory that was shared is never less than nothing", () => {
  const footprint = {
    rss: 40 * MIB,
    fileRss: 0,
    proportional: 20 * MIB,
    fileProportional: 0,
  };
  const sizes = (rss: number) => ({ rss, fileRss: 0, rssError: 0 });
  const reading = { footprint, then: sizes(40 * MIB) };
  assertEquals(estimateSize(reading, sizes(30 * MIB)), 10 * MIB);
  assertEquals(estimateSize(reading, sizes(5 * MIB)), 0);
});

Deno.test("the estimate is at most RSS, and the error of its counter more", () => {
  const footprint = {
    rss: 40 * MIB,
    fileRss: 10 * MIB,
    proportional: 40 * MIB,
    fileProportional: 10 * MIB,
  };
  // The counter says less than the page tables hold.
  const sizes = { rss: 38 * MIB, fileRss: 9 * MIB, rssError: 3 * MIB };
  const reading = { footprint, then: sizes };
  assertEquals(estimateSize(reading, sizes), 39 * MIB);
  const less = { ...sizes, rss: 20 * MIB, fileRss: 0 };
  assert(estimateSize(reading, less) <= 23 * MIB);
});

Deno.test("where nothing of files was mapped, all that is since counts in full", () => {
  const footprint = {
    rss: MIB,
    fileRss: 0,
    proportional: MIB,
    fileProportional: 0,
  };
  const then = { rss: MIB, fileRss: 0, rssError: 0 };
  const now = { rss: 6 * MIB, fileRss: 5 * MIB, rssError: 0 };
  assertEquals(estimateSize({ footprint, then }, now), 6 * MIB);
});
