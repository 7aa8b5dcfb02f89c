/**
 * How much of its time a process may pay for being observed, and what it has paid.
 *
 * @module
 */

/** Over what time the share is averaged, in milliseconds. */
const WINDOW = 60_000;
/** The window is kept in slots of this many milliseconds. */
const SLOT = 5_000;
/** One more than a window has, because the current slot has only begun. */
const SLOTS = WINDOW / SLOT + 1;

/**
 * A share of the time of one process. What is spent in any minute is at most a minute's
 * share, and one payment. What turns out to be dearer becomes a debt: nothing can be
 * spent until the share of the time that passes has covered it.
 *
 * Amounts are in seconds, times in milliseconds.
 */
export class ObservationBudget {
  #share: number;
  readonly #now: () => number;
  /** What was spent in the last slots. */
  readonly #spent = new Float64Array(SLOTS);
  /** The number of the current slot. */
  #slot: number;
  /** What can be spent, apart from the limit of a minute; negative in debt. */
  #balance: number;
  /** When the balance was brought up to date. */
  #at: number;

  /**
   * @param share of the process's time, from 0 to 1.
   * @param now the time of a monotonic clock.
   */
  constructor(share: number, now: () => number) {
    this.#share = share;
    this.#now = now;
    this.#at = now();
    this.#slot = Math.floor(this.#at / SLOT);
    this.#balance = this.#ofMinute;
  }

  /** Changes the share from now on. */
  set share(share: number) {
    if (share === this.#share) return;
    this.#update();
    this.#share = share;
    this.#balance = Math.min(this.#balance, this.#ofMinute);
  }

  /** The share of a minute. */
  get #ofMinute(): number {
    return this.#share * WINDOW / 1000;
  }

  /** How much can be spent now; 0 or less if nothing can. */
  get available(): number {
    this.#update();
    let spent = 0;
    for (const one of this.#spent) spent += one;
    return Math.min(this.#ofMinute - spent, this.#balance);
  }

  /**
   * Spends an amount, whether or not it is available.
   *
   * @param before takes back an earlier payment instead of which this one is made.
   */
  spend(amount: number, before?: Payment): Payment {
    this.#update();
    if (before) {
      this.#balance += before.amount;
      const isCounted = this.#slot - before.slot < SLOTS;
      if (isCounted) this.#spent[before.slot % SLOTS] -= before.amount;
    }
    // It was paid since the earlier payment, which may have been in an earlier slot.
    const slot = this.#slot;
    this.#balance -= amount;
    this.#spent[slot % SLOTS] += amount;
    return { amount, slot };
  }

  #update(): void {
    const now = this.#now();
    const earned = (now - this.#at) / 1000 * this.#share;
    this.#balance = Math.min(this.#ofMinute, this.#balance + earned);
    this.#at = now;
    const slot = Math.floor(now / SLOT);
    for (let one = Math.max(this.#slot + 1, slot - SLOTS + 1); one <= slot;) {
      this.#spent[one++ % SLOTS] = 0;
    }
    this.#slot = slot;
  }
}

/** What was paid, and in which slot. */
export interface Payment {
  readonly amount: number;
  readonly slot: number;
}
