/**
 * Tests of the budget for references, on processes that are counts of pages only.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { REFERENCED } from "../../memory/pagedata.ts";
import { ObservationBudget } from "./observation_budget.ts";
import { ResetPlan } from "./reset_plan.ts";

/** What a reference costs under a hypervisor that shadows page tables, in nanoseconds. */
const COST = 10_000;
const PAGES = 512;
const PAGE = 4096;

function assertNear(actual: number, expected: number, most = 1e-6): void {
  assert(Math.abs(actual - expected) <= most, `${actual}, not ${expected}`);
}

/** A process whose memory is blocks of 2 MiB, observed as a source would. */
class Process {
  now = 0;
  readonly plan: ResetPlan;
  /** A byte per page: its reference bit. */
  readonly #bits: Uint8Array[];
  readonly #intervals;
  /** When it paid how much for its references, in seconds. */
  readonly payments: { at: number; cost: number }[] = [];
  resets = { all: 0, blocks: 0, nothing: 0 };

  constructor(
    blocks: number,
    public budget: number | undefined,
    referenceCost: () => number | undefined = () => COST,
  ) {
    const now = () => this.now;
    this.plan = new ResetPlan({
      budget: () => this.budget,
      referenceCost,
      now,
    });
    this.#bits = Array.from(
      { length: blocks },
      () => new Uint8Array(PAGES).fill(REFERENCED),
    );
    this.#intervals = [{ firstPage: 0, endPage: blocks * PAGES }];
  }

  /** References pages of a block, and pays for those whose bits were reset. */
  use(block: number, pages = PAGES): void {
    const bits = this.#bits[block];
    let count = 0;
    for (let page = 0; page < pages; page++) {
      if (bits[page] === 0) count++;
      bits[page] = REFERENCED;
    }
    const cost = count * COST / 1e9;
    const last = this.payments.at(-1);
    if (last?.at === this.now) last.cost += cost;
    else this.payments.push({ at: this.now, cost });
  }

  #read(judges: boolean): void {
    const { blocks } = this.plan;
    blocks.startReading(this.#intervals);
    for (const [block, bits] of this.#bits.entries()) {
      blocks.addPages(0, block * PAGES, bits);
    }
    this.plan.read(judges);
  }

  begin(): void {
    this.plan.begin();
    this.#read(false);
    this.#reset();
  }

  glance(): void {
    this.#read(false);
  }

  advance(): void {
    this.#read(true);
    this.#reset();
  }

  /** Ends a part of the observation, and resets everything for a command that borrows it. */
  lend(): void {
    this.#read(true);
    this.#reset(this.plan.decideAll());
  }

  #reset(choice = this.plan.decide(true)): void {
    const { plan } = this;
    this.resets[choice]++;
    if (choice === "nothing") return;
    if (choice === "all") this.#bits.forEach((bits) => bits.fill(0));
    else {
      for (const { start, bytes } of [...plan.blocks.lists(64, 1e9)].flat()) {
        const first = Number(start) / PAGE / PAGES;
        const end = first + bytes / PAGE / PAGES;
        for (let block = first; block < end; block++) this.#bits[block].fill(0);
      }
    }
    plan.noteReset(choice);
  }

  /** The most that it has paid in any minute, in seconds. */
  get mostOfMinute(): number {
    let most = 0;
    for (const { at: from } of this.payments) {
      const sum = this.payments
        .filter(({ at }) => at >= from && at < from + 60_000)
        .reduce((sum, { cost }) => sum + cost, 0);
      most = Math.max(most, sum);
    }
    return most;
  }

  get paid(): number {
    return this.payments.reduce((sum, { cost }) => sum + cost, 0);
  }
}

Deno.test("a reset that is more than the budget has is paid off before the next one", () => {
  const process = new Process(16, 0.01);
  const use = () => {
    for (let block = 0; block < 16; block++) process.use(block);
  };
  process.begin();
  for (; process.now < 120_000; process.now += 5000) {
    use();
    process.advance();
  }
  use();
  process.lend();
  const lent = process.now;
  const cost = 16 * PAGES * COST / 1e9;
  use();
  assertNear(process.payments.at(-1)!.cost, cost, 1e-9);
  const before = process.paid;
  while (process.paid === before) {
    process.now += 5000;
    process.advance();
    use();
    assert(process.now < lent + 600_000, "it is observed again");
  }
  // A minute's budget may be spent at once, and no more.
  assert(
    process.now - lent >= (cost / 0.01 - 60) * 1000,
    `${process.now - lent} ms`,
  );
});

Deno.test("a process that uses 1 GiB all the time pays no more than its budget in any minute", () => {
  const process = new Process(512, 0.01);
  const use = () => {
    for (let block = 0; block < 512; block++) process.use(block);
  };
  process.begin();
  for (; process.now < 900_000; process.now += 5000) {
    use();
    process.advance();
  }
  use();
  const { mostOfMinute, paid, plan } = process;
  assert(mostOfMinute <= 0.6 + PAGES * COST / 1e9, `${mostOfMinute} s`);
  // And its budget is used: it is known as well as that allows.
  assert(mostOfMinute > 0.5, `${mostOfMinute} s`);
  assert(paid > 0.008 * 900, `${paid} s in 15 min`);
  assertEquals(plan.unjudged, 0);
  assertNear(plan.cost!, paid, 0.1);
});

Deno.test("the budget holds for any process that uses what it used before", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 300 }),
      fc.constantFrom(0.001, 0.01, 0.05),
      fc.array(
        fc.record({
          // In milliseconds, until the next step.
          pause: fc.integer({ min: 50, max: 40_000 }),
          // Which part of its hot memory it uses.
          share: fc.constantFrom(0, 0.5, 1),
          step: fc.constantFrom("advance", "advance", "glance", "begin"),
        }),
        { minLength: 1, maxLength: 60 },
      ),
      fc.integer({ min: 0, max: 300 }),
      (blocks, budget, steps, hot) => {
        const process = new Process(blocks, budget);
        process.begin();
        const used = Math.min(hot, blocks);
        for (const { pause, share, step } of steps) {
          // Soon after the reset, so that a minute holds as much as it can.
          process.now += 10;
          for (let block = 0; block < used; block++) {
            process.use(block, PAGES * share);
          }
          // The rest of it before the next reset: nothing is saved up.
          for (let block = 0; block < used; block++) process.use(block);
          process.now += pause;
          if (step === "advance") process.advance();
          else if (step === "glance") process.glance();
          else process.begin();
        }
        for (let block = 0; block < used; block++) process.use(block);
        const most = budget * 60 + PAGES * COST / 1e9;
        assert(process.mostOfMinute <= most + 1e-9, `${process.mostOfMinute}`);
      },
    ),
    { seed: 20_261_127, numRuns: 300 },
  );
});

Deno.test("what suddenly is used after a long time is paid off before anything is reset", () => {
  const process = new Process(512, 0.01);
  process.begin();
  for (; process.now < 300_000; process.now += 5000) process.advance();
  assertEquals(process.plan.unjudged, 0);
  assertEquals(process.paid, 0);
  for (let block = 0; block < 512; block++) process.use(block);
  const { paid } = process;
  assertNear(paid, 512 * PAGES * COST / 1e9);
  const { blocks, all } = process.resets;
  // It had saved a minute's share.
  const until = process.now + (paid / 0.01 - 60) * 1000;
  for (; process.now < until; process.now += 5000) process.advance();
  assertEquals(process.resets.blocks, blocks);
  assertEquals(process.resets.all, all);
  for (let count = 0; count < 3; count++, process.now += 5000) {
    process.advance();
  }
  assert(process.resets.blocks > blocks);
});

Deno.test("what fits the budget is reset at once", () => {
  const process = new Process(512, 0.01, () => 50);
  process.begin();
  for (; process.now < 60_000; process.now += 5000) {
    for (let block = 0; block < 512; block++) process.use(block);
    process.advance();
  }
  assertEquals(process.resets, { all: 13, blocks: 0, nothing: 0 });
});

Deno.test("without a budget, or while the cost is not known, all is reset at once", () => {
  for (
    const [budget, cost] of [[undefined, COST], [0.001, undefined]] as const
  ) {
    const process = new Process(512, budget, () => cost);
    process.begin();
    for (; process.now < 60_000; process.now += 5000) {
      for (let block = 0; block < 512; block++) process.use(block);
      process.advance();
    }
    assertEquals(process.resets, { all: 13, blocks: 0, nothing: 0 });
    if (cost) assertNear(process.plan.cost!, process.paid);
    else assertEquals(process.plan.cost, undefined);
  }
});

Deno.test("a process that can only be reset as a whole is reset less often", () => {
  let now = 0;
  const plan = new ResetPlan({
    budget: () => 0.01,
    referenceCost: () => COST,
    now: () => now,
  });
  const bytes = 1 << 30;
  assert(plan.mayBeginWithAll);
  plan.beginWithAll();
  const resets: number[] = [];
  for (; now < 900_000; now += 5000) {
    plan.readWhole(bytes, true);
    if (plan.decide(false) !== "all") continue;
    resets.push(now);
    plan.noteReset("all");
  }
  const cost = bytes / PAGE * COST / 1e9;
  assertNear(plan.cost!, cost * (resets.length + 1), 1e-6);
  // Each costs 2.6 s, which is 1 % of 262 s.
  assert(resets.length >= 2 && resets.length <= 4, `${resets}`);
  for (const [i, at] of resets.slice(1).entries()) {
    assert(at - resets[i] >= cost / 0.01 * 1000 - 10_000, `${resets}`);
  }
});

Deno.test("a payment is replaced by what was found, in whichever slot that is", () => {
  let now = 0;
  const budget = new ObservationBudget(0.01, () => now);
  assertNear(budget.available, 0.6);
  const expected = budget.spend(0.5);
  assertNear(budget.available, 0.1);
  now = 20_000;
  budget.spend(0.2, expected);
  assertNear(budget.available, 0.4);
  now = 79_999;
  assertNear(budget.available, 0.4);
  now = 85_000;
  assertNear(budget.available, 0.6);
  const late = budget.spend(0.6);
  now = 200_000;
  budget.spend(0.9, late);
  assertNear(budget.available, -0.3);
});
