/**
 * Properties of merging and scanning that hold for every address space, checked on
 * random ones. The seed is fixed, so that failures are reproducible; fast-check
 * prints the smallest failing case.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { NoSuchProcess, ProcessError } from "../errors.ts";
import {
  MA_ANON,
  MA_READ,
  MA_SHARED,
  SCHEDCTL_FLAGS,
} from "../memory/mapping_flags.ts";
import {
  isSchedctl,
  mappingBytes,
  mappingEnd,
  type Pagedata,
  type PagedataMapping,
} from "../memory/pagedata.ts";
import type { Residency } from "../memory/process_memory.ts";
import {
  drawingOf,
  type FakeMapping,
  FakeMemory,
  PAGE,
  pagedataOf,
} from "../memory/testing.ts";
import { ScanCollection, ScannedProcess } from "./collection.ts";
import { mergePagedata } from "./merge.ts";
import { scan, type ScanEvent } from "./scan.ts";
import { addressAt } from "./walk.ts";

const LARGE_PAGE = 4 * PAGE;

const runs = { seed: 20_260_101, numRuns: 1000 };

/** Pages of one mapping: holes, and runs with and without a bar between them. */
const pages = fc.array(
  fc.string({
    unit: fc.constantFrom(".", "0", "0", "1", "2", "3"),
    minLength: 1,
    maxLength: 8,
  }),
  { minLength: 1, maxLength: 3 },
).map((parts) => parts.join("|"));

/** A mapping of {@linkcode addressSpace} before it has an address. */
const floating = fc.record({
  /** Smallest distance from the previous mapping, in small pages. */
  gap: fc.nat(4),
  pages,
  pageSize: fc.constantFrom(PAGE, PAGE, PAGE, LARGE_PAGE),
  flags: fc.constantFrom(
    MA_READ | MA_ANON,
    MA_READ | MA_SHARED,
    SCHEDCTL_FLAGS,
  ),
  outcome: fc.constantFrom<FakeMapping["outcome"]>("done", "done", "busy"),
});

/** An address space. Any two of them overlap considerably. */
const addressSpace = fc.array(floating, { maxLength: 8 }).map((mappings) => {
  let end = 0x10000;
  return mappings.map(({ gap, ...mapping }): FakeMapping => {
    const { pages, pageSize } = mapping;
    const lowest = end + gap * PAGE;
    const start = Math.ceil(lowest / pageSize) * pageSize;
    end = start + pages.replaceAll("|", "").length * pageSize;
    return { ...mapping, start: BigInt(start) };
  });
});

/** Readings of one process. Most have the mappings of the first, with other pages. */
function readings(count: number): fc.Arbitrary<FakeMapping[][]> {
  return addressSpace.chain((space) =>
    fc.array(
      fc.oneof(
        { weight: 3, arbitrary: fc.tuple(...space.map(redrawn)) },
        { weight: 1, arbitrary: addressSpace },
      ),
      { minLength: count, maxLength: count },
    )
  );
}

/** The same mapping with other pages recorded and other bits. */
function redrawn(mapping: FakeMapping): fc.Arbitrary<FakeMapping> {
  const length = mapping.pages.replaceAll("|", "").length;
  return fc.string({
    unit: fc.constantFrom(".", "0", "0", "0", "2"),
    minLength: length,
    maxLength: length,
  }).map((pages) => ({ ...mapping, pages }));
}

/** A recorded page. */
interface Page {
  readonly bits: number;
  readonly mapping: PagedataMapping;
}

/** The recorded pages by address. */
function pagesOf(pagedata: Pagedata): Map<bigint, Page> {
  const drawing = drawingOf(pagedata);
  const found = new Map<bigint, Page>();
  for (const [index, mapping] of pagedata.mappings.entries()) {
    for (const [page, digit] of [...drawing[index]].entries()) {
      if (digit === ".") continue;
      const bits = Number(digit);
      found.set(addressAt(pagedata, { mapping: index, page }), {
        bits,
        mapping,
      });
    }
  }
  return found;
}

function isUnreferenced({ bits }: Page): boolean {
  return bits === 0;
}

function sum(sizes: readonly number[]): number {
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** The mappings that a merge compares. */
function mergedMappings(pagedata: Pagedata): PagedataMapping[] {
  return pagedata.mappings.filter((mapping) => !isSchedctl(mapping));
}

/**
 * The pages of `next`, each with the bits that it gains from the page at its
 * address in `previous`. Three kinds of pages gain nothing:
 *
 * - the schedctl page;
 * - pages of different sizes, unless both begin their mappings;
 * - if the first mappings have different starts, the overlap of one of these with
 *   a mapping other than the first on the other side.
 */
function expectedMerge(previous: Pagedata, next: Pagedata): Map<bigint, Page> {
  const before = pagesOf(previous);
  const [oldFirst] = mergedMappings(previous);
  const [nowFirst] = mergedMappings(next);
  const apart = oldFirst?.start !== nowFirst?.start;
  const gains = (
    address: bigint,
    old: PagedataMapping,
    now: PagedataMapping,
  ) => {
    if (isSchedctl(old) || isSchedctl(now)) return false;
    if (apart && (old === oldFirst) !== (now === nowFirst)) return false;
    return old.pageSize === now.pageSize ||
      (old.start === address && now.start === address);
  };
  const merged = new Map<bigint, Page>();
  for (const [address, { bits, mapping }] of pagesOf(next)) {
    const old = before.get(address);
    const gain = old && gains(address, old.mapping, mapping) ? old.bits : 0;
    merged.set(address, { bits: bits | gain, mapping });
  }
  return merged;
}

Deno.test("merging gives every page the bits that it had, and no others", () => {
  fc.assert(
    fc.property(readings(2), ([before, after]) => {
      const previous = pagedataOf(before);
      const next = pagedataOf(after);
      const expected = expectedMerge(previous, next);
      mergePagedata(previous, next);
      assertEquals(pagesOf(next), expected);
      assertEquals(drawingOf(previous), drawingOf(pagedataOf(before)));
    }),
    runs,
  );
});

Deno.test("merging reports every change of mappings, and nothing else", () => {
  const shape = ({ start, pages, pageSize }: PagedataMapping) => (
    [start, pages, pageSize].join()
  );
  fc.assert(
    fc.property(readings(2), ([before, after]) => {
      const previous = pagedataOf(before);
      const next = pagedataOf(after);
      assertEquals(
        mergePagedata(previous, next),
        mergedMappings(previous).map(shape).join(" ") !==
          mergedMappings(next).map(shape).join(" "),
      );
    }),
    runs,
  );
});

Deno.test("merging the same reading again changes nothing", () => {
  fc.assert(
    fc.property(readings(2), ([before, after]) => {
      const previous = pagedataOf(before);
      const next = pagedataOf(after);
      mergePagedata(previous, next);
      const merged = drawingOf(next);
      mergePagedata(previous, next);
      assertEquals(drawingOf(next), merged);
      const again = pagedataOf(after);
      assertEquals(mergePagedata(next, again), false);
      assertEquals(drawingOf(again), merged);
    }),
    runs,
  );
});

/** The behaviour of one process during one scan. */
interface Step {
  readonly mappings: FakeMapping[];
  readonly residency: boolean;
  readonly maxRanges: number;
  /** Calls that fail during the whole scan. */
  readonly fails: readonly string[];
  /** The call of this scan from which on the process has exited. */
  readonly exits: number | undefined;
}

/** A collection and its scans. */
interface Scenario {
  /** Per process, per scan. */
  readonly processes: Step[][];
  readonly scans: { excess: number; stops: number | undefined }[];
}

const SCANS = 5;

/**
 * Scenarios. In healthy ones every call succeeds, every page can be paged out and
 * no scan is stopped.
 */
function scenarios({ healthy }: { healthy: boolean }): fc.Arbitrary<Scenario> {
  const call = fc.constantFrom(
    "readPagedata",
    "readResidency",
    "readSizes",
    "control",
    "pageOut",
  );
  const never = fc.constant(undefined);
  const step = fc.record({
    residency: fc.boolean(),
    maxRanges: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.constant(1024)),
    fails: healthy
      ? fc.constant([])
      : fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, fc.array(call)),
    exits: healthy
      ? never
      : fc.oneof({ weight: 9, arbitrary: never }, fc.nat(15)),
  });
  const process = fc.tuple(
    readings(SCANS),
    fc.array(step, { minLength: SCANS, maxLength: SCANS }),
  ).map(([readings, steps]) =>
    steps.map((step, scan): Step => ({
      ...step,
      mappings: readings[scan].map((mapping) =>
        healthy ? { ...mapping, outcome: "done" } : mapping
      ),
    }))
  );
  return fc.record({
    processes: fc.array(process, { minLength: 1, maxLength: 3 }),
    scans: fc.array(
      fc.record({
        excess: fc.nat(40).map((pages) => pages * PAGE),
        stops: healthy
          ? never
          : fc.oneof({ weight: 4, arbitrary: never }, fc.nat(40)),
      }),
      { minLength: SCANS, maxLength: SCANS },
    ),
  });
}

/** The actual residency, by start address. */
function residencyOf(mappings: readonly FakeMapping[]): Map<bigint, Residency> {
  const { mappings: shapes } = pagedataOf(mappings);
  return new Map(
    shapes.map((shape, i) => [shape.start, {
      start: shape.start,
      bytes: mappingBytes(shape),
      pageable: mappings[i].pages.replaceAll(/[^0-3]/g, "").length,
    }]),
  );
}

/** A process of a scenario and what the test knows about it. */
class Witness {
  readonly memory: FakeMemory;
  readonly process: ScannedProcess;
  /** The pages as they should be accumulated when the page-outs of this scan begin. */
  pages: Map<bigint, Page> = new Map();
  /** Whether its pagedata was read in this scan. */
  read = false;
  #gone = false;

  constructor(pid: number) {
    this.memory = new FakeMemory(pid, []);
    this.process = new ScannedProcess(this.memory);
  }

  /** Begins a scan. `told` is called before each call. */
  begin(step: Step, told: (call: string) => void): void {
    const { memory, process } = this;
    const empty = pagedataOf([]);
    memory.mappings = step.mappings;
    memory.residency = step.residency ? residencyOf(step.mappings) : undefined;
    memory.maxRanges = step.maxRanges;
    this.pages = pagesOf(process.pagedata ?? empty);
    this.read = false;
    let calls = 0;
    memory.onCall = (call) => {
      told(call);
      this.#gone ||= calls === step.exits;
      calls++;
      if (this.#gone) throw new NoSuchProcess(memory.pid, "gone");
      if (step.fails.includes(call.split(" ")[0])) {
        throw new ProcessError(memory.pid, `${call} fails`);
      }
      if (call === "readPagedata") {
        const reading = pagedataOf(memory.mappings);
        this.pages = expectedMerge(process.pagedata ?? empty, reading);
        this.read = true;
      }
    };
  }

  /** Size of some of its pages, in bytes. */
  size(which: (page: Page) => boolean): number {
    const pages = [...this.pages.values()].filter(which);
    return sum(pages.map(({ mapping }) => mapping.pageSize));
  }
}

/** Checks one page-out of a scan whose remaining excess was `excess` before it. */
function checkPageout(
  { ranges, results }: Extract<ScanEvent, { type: "pageout" }>,
  { pages, process }: Witness,
  { excess, spare }: { excess: number; spare: boolean },
): void {
  assertEquals(ranges.length, results.length);
  let remaining = excess;
  let before = -1n;
  for (const { start, end, bytes, mappingStart } of ranges) {
    assert(before <= start && start < end, "ranges are in address order");
    before = end;
    const mapping = process.pagedata?.mappings
      .find((mapping) => mapping.start === mappingStart);
    assert(mapping && mapping.start <= start && end <= mappingEnd(mapping));
    assert(!isSchedctl(mapping), "the schedctl page is never paged out");
    const inside = [...pages].filter(([at]) => start <= at && at < end);
    assertEquals(bytes, inside.length * mapping.pageSize);
    assert(remaining > 0 && bytes < remaining + mapping.pageSize, "too much");
    remaining -= bytes;
    assert(
      !spare || inside.every(([, page]) => isUnreferenced(page)),
      "a referenced page was paged out without need",
    );
  }
}

/** The result of a scenario's scan. Sizes are in bytes. */
interface Outcome {
  readonly excess: number;
  readonly left: number;
  readonly pagedOut: number;
  /** How much could be paged out. */
  readonly available: number;
  readonly resumed: boolean;
}

/** Runs the scans of a scenario and checks the properties of every scan. */
async function checkedScans(
  { processes, scans }: Scenario,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const witnesses = processes.map((_, pid) => new Witness(pid));
  const collection = new ScanCollection(
    witnesses.map(({ process }) => process),
  );
  for (const [index, { excess, stops }] of scans.entries()) {
    const controller = new AbortController();
    const { signal } = controller;
    let calls = 0;
    for (const [pid, witness] of witnesses.entries()) {
      witness.begin(processes[pid][index], (call) => {
        // After a failure, earlier page-outs are still accounted for.
        assert(
          !witness.process.unscannable || call === "readSizes",
          "touched after a failure",
        );
        if (call.startsWith("pageOut")) {
          assert(!signal.aborted, "paged out after the stop");
        }
        if (calls++ === stops) controller.abort();
      });
    }
    const { resumeAddress } = collection;
    const events: ScanEvent[] = [];
    const onEvent = (event: ScanEvent) => events.push(event);
    const result = await scan(collection, { excess, signal, onEvent });

    const read = witnesses.filter(({ read }) => read);
    const unreferenced = read.map((witness) => witness.size(isUnreferenced));
    const spare = sum(unreferenced) >= excess;
    let remaining = excess;
    let pagedOut = 0;
    for (const event of events) {
      if (event.type === "victim") remaining = event.excess;
      if (event.type !== "pageout") continue;
      const witness = witnesses[event.process.pid];
      checkPageout(event, witness, { excess: remaining, spare });
      remaining = event.excess;
      pagedOut += sum(event.ranges.map(({ bytes }) => bytes));
    }
    for (const { memory } of witnesses) {
      assert(!memory.controlled, "kept control");
    }
    // A scan that pages nothing out does not move the hand.
    if (events.some(({ type }) => type === "victim")) checkPlace(collection);
    const available = read.map((witness) =>
      witness.size((page) =>
        !isSchedctl(page.mapping) && (!spare || isUnreferenced(page))
      )
    );
    outcomes.push({
      excess,
      left: result.excess,
      pagedOut,
      available: sum(available),
      resumed: resumeAddress !== undefined,
    });
  }
  return outcomes;
}

/** Checks that the next scan, if it resumes, resumes in a mapping. */
function checkPlace({ victim, resumeAddress }: ScanCollection): void {
  if (resumeAddress === undefined) return;
  const { mappings = [] } = victim?.pagedata ?? {};
  assert(
    mappings.some((mapping) =>
      mapping.start <= resumeAddress && resumeAddress < mappingEnd(mapping)
    ),
    `resumes at 0x${resumeAddress.toString(16)}, in no mapping`,
  );
}

Deno.test("scans keep their promises while processes exit and fail", async () => {
  await fc.assert(
    fc.asyncProperty(scenarios({ healthy: false }), async (scenario) => {
      await checkedScans(scenario);
    }),
    runs,
  );
});

Deno.test("scans of healthy processes page out the excess, if there is enough memory", async () => {
  await fc.assert(
    fc.asyncProperty(scenarios({ healthy: true }), async (scenario) => {
      for (const outcome of await checkedScans(scenario)) {
        const { excess, left, pagedOut, available, resumed } = outcome;
        assertEquals(left, excess - pagedOut);
        assert(pagedOut < excess + LARGE_PAGE);
        if (left > 0 && !resumed) assertEquals(pagedOut, available);
      }
    }),
    runs,
  );
});
