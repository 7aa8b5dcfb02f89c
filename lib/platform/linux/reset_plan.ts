/**
 * Decides which reference bits of a process are reset when, and keeps account of what
 * that costs the process.
 *
 * A bit that is reset costs the process the next reference to its page, and a page that
 * is not in use costs nothing. So a reading shows what the reset before it has cost, and
 * what another one would cost: as much as there are bits set. If that is more than the
 * budget has, only some blocks are reset, one after another. A page in a block that was
 * not reset counts as referenced.
 *
 * @module
 */

import { ObservationBudget, type Payment } from "./observation_budget.ts";
import { PAGE_SIZE, ReferenceBlocks } from "./reference_blocks.ts";

/** What to reset now. */
export type ResetChoice = "all" | "blocks" | "nothing";

export interface ResetPlanOptions {
  /**
   * The most that the process may pay: a share of its time, which may change. Unlimited
   * by default.
   */
  readonly budget?: () => number | undefined;
  /** What a reference costs after a reset, in nanoseconds; `undefined` while not known. */
  readonly referenceCost?: () => number | undefined;
  /** The time in milliseconds. */
  readonly now?: () => number;
}

/** When which references of one process are reset. */
export class ResetPlan {
  /** What is known of its blocks. */
  readonly blocks = new ReferenceBlocks();
  readonly #share: () => number | undefined;
  #spending: ObservationBudget | undefined;
  readonly #referenceCost: () => number | undefined;
  readonly #now: () => number;
  /** Whether only all of its references can be reset at a time. */
  #isIndivisible = false;
  /** What was found referenced after resets, in pages, and paid for, in seconds. */
  #cost = 0;
  /** What was found since the last decision, in seconds. */
  #found = 0;
  /** What the last reset was expected to cost. */
  #expected: Payment | undefined;
  /** For readings without blocks: the pages that were paid for, and what is not judged. */
  #whole = { paid: 0, isReset: false, isJudged: true, unjudged: 0 };

  constructor(
    {
      budget = () => undefined,
      referenceCost = () => undefined,
      now = () => performance.now(),
    }: ResetPlanOptions = {},
  ) {
    this.#referenceCost = referenceCost;
    this.#now = now;
    this.#share = budget;
  }

  /** The budget; `undefined` if resets are not limited. */
  get #budget(): ObservationBudget | undefined {
    const share = this.#share();
    if (share === undefined || !this.isCounting) return undefined;
    this.#spending ??= new ObservationBudget(share, this.#now);
    this.#spending.share = share;
    return this.#spending;
  }

  /** What being observed has cost the process so far, in seconds; `undefined` if not known. */
  get cost(): number | undefined {
    return this.#referenceCost() === undefined ? undefined : this.#cost;
  }

  /**
   * How much of the process looks in use, but cannot be judged: its references were not
   * reset and read since observation began. In bytes.
   */
  get unjudged(): number {
    if (!this.isLimited) return 0;
    return this.#isIndivisible ? this.#whole.unjudged : this.blocks.unjudged;
  }

  /**
   * How much of the process looks in use, and was last reset longer ago than a number of
   * milliseconds. In bytes.
   */
  unresetFor(milliseconds: number): number {
    if (!this.isLimited) return 0;
    return this.#isIndivisible
      ? this.#whole.unjudged
      : this.blocks.unresetSince(this.#now() - milliseconds);
  }

  /** Whether references are counted. */
  get isCounting(): boolean {
    return this.#referenceCost() !== undefined;
  }

  /** Whether resets are limited. */
  get isLimited(): boolean {
    return this.isCounting && this.#share() !== undefined;
  }

  /** Begins an observation whose first reset is decided after a reading. */
  begin(): void {
    this.blocks.begin();
    // Nothing that shows at the first reading is due to a reset.
    this.#whole = {
      paid: Infinity,
      isReset: false,
      isJudged: false,
      unjudged: 0,
    };
  }

  /** Whether an observation may begin by a reset of all references, without a reading. */
  get mayBeginWithAll(): boolean {
    const budget = this.#budget;
    if (!budget) return true;
    this.#settle(budget);
    return budget.available > 0;
  }

  /** Begins an observation by a reset of all references. */
  beginWithAll(): void {
    this.blocks.begin(this.#now());
    this.#whole = { paid: 0, isReset: true, isJudged: false, unjudged: 0 };
  }

  /**
   * Takes a reading of the blocks.
   *
   * @param judges whether it ends a part of the observation.
   */
  read(judges: boolean): void {
    this.#isIndivisible = false;
    this.#charge(this.blocks.endReading(this.#now(), judges));
  }

  /**
   * Takes a reading without blocks.
   *
   * @param bytes how much was referenced. The pages are not known; so many small ones
   * are the most.
   */
  readWhole(bytes: number, judges: boolean): void {
    const whole = this.#whole;
    const referenced = bytes / PAGE_SIZE;
    this.#isIndivisible = true;
    this.#charge(Math.max(0, referenced - whole.paid));
    whole.paid = referenced;
    if (judges && whole.isReset) whole.isJudged = true;
    whole.unjudged = whole.isJudged ? 0 : bytes;
  }

  /** How much it takes to reference so many pages after a reset, in seconds. */
  #costOf(pages: number): number {
    return pages * (this.#referenceCost() ?? 0) / 1e9;
  }

  /** What it would cost to reset all that was referenced at the last reading, in seconds. */
  get #costOfAll(): number {
    return this.#costOf(
      this.#isIndivisible ? this.#whole.paid : this.blocks.referenced,
    );
  }

  #charge(pages: number): void {
    const seconds = this.#costOf(pages);
    this.#cost += seconds;
    this.#found += seconds;
  }

  /**
   * Decides what to reset after a reading. Blocks to reset are chosen.
   *
   * @param canDivide whether blocks can be reset.
   */
  decide(canDivide: boolean): ResetChoice {
    const budget = this.#budget;
    const ofPage = this.#costOf(1);
    if (!budget || ofPage === 0) return "all";
    this.#settle(budget);
    const { available } = budget;
    const isEnough = this.#costOfAll <= available;
    if (isEnough || (!canDivide && available > 0)) {
      this.#expected = budget.spend(this.#costOfAll);
      return "all";
    }
    if (!canDivide || available <= 0) return "nothing";
    const chosen = this.blocks.choose(available / ofPage, this.#now());
    if (chosen === 0) return "nothing";
    this.#expected = budget.spend(this.#costOf(chosen));
    return "blocks";
  }

  /** Decides to reset everything after a reading, even if that makes a debt. */
  decideAll(): "all" {
    const budget = this.#budget;
    if (budget) {
      this.#settle(budget);
      this.#expected = budget.spend(this.#costOfAll);
    }
    return "all";
  }

  /** Replaces what the last reset was expected to cost by what was found. */
  #settle(budget: ObservationBudget): void {
    if (this.#found > 0 || this.#expected) {
      budget.spend(this.#found, this.#expected);
    }
    this.#found = 0;
    this.#expected = undefined;
  }

  /** Notes what was reset. */
  noteReset(choice: Exclude<ResetChoice, "nothing">): void {
    if (choice === "blocks") this.blocks.noteCooled(this.#now());
    else {
      this.blocks.noteAllReset(this.#now());
      this.#whole.paid = 0;
      this.#whole.isReset = true;
    }
  }
}
