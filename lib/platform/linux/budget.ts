/**
 * Something limited that processes share, like room for what is kept of them.
 *
 * @module
 */

/** What one process has. */
interface Share {
  /** What it would take if there were no limit. */
  wanted: number;
  /** For as long as this is there, it takes it. */
  readonly holder: WeakRef<object>;
}

/** How much the sum of what is wanted has to change for the limit to be found anew, as a share of the amount. */
const STALE_SHARE = 0.02;

/**
 * Shares a limited amount out: who wants little gets it, and whoever wants more than
 * the others gets as much as they do. So no process can take away from another what
 * that needs, unless there are too many of them.
 *
 * What is given away comes back by itself when the object that takes it is no longer
 * reachable. Until then, and until who has too much reads anew, up to twice the
 * amount may be in use.
 */
export class Budget {
  readonly #total: number;
  readonly #shares = new Map<string, Share>();
  #wanted = 0;
  /** The most that one gets, as it was found for a sum of what is wanted. */
  #level = { most: Infinity, at: -1 };

  /** @param total the amount. */
  constructor(total: number) {
    this.#total = total;
  }

  /**
   * How much a process may take.
   *
   * @param key tells processes apart.
   * @param wanted what it would take, if it never told.
   */
  mostOf(key: string, wanted: number): number {
    const known = this.#shares.get(key)?.wanted;
    const wants = known ?? this.#atMost(wanted);
    const others = this.#wanted - (known ?? 0);
    if (others + wants <= this.#total) return this.#total - others;
    this.#forgetGone();
    const sum = this.#wanted + (this.#shares.has(key) ? 0 : wants);
    if (sum <= this.#total) return this.#total - sum + wants;
    if (Math.abs(this.#level.at - sum) > this.#total * STALE_SHARE) {
      this.#level = { most: this.#findLevel(sum, key, wants), at: sum };
    }
    return Math.max(1, this.#level.most);
  }

  /**
   * Notes what a process would take if there were no limit.
   *
   * @param holder what takes it. It must not be held by anything that the budget holds.
   */
  note(key: string, wanted: number, holder: object): void {
    const wants = this.#atMost(wanted);
    this.#wanted += wants - (this.#shares.get(key)?.wanted ?? 0);
    this.#shares.set(key, { wanted: wants, holder: new WeakRef(holder) });
    if (this.#shares.size > this.#swept * 2 + 1024) this.#forgetGone();
  }

  /** More than all is as good as all, one way or the other. */
  #atMost(wanted: number): number {
    return Math.min(wanted, this.#total);
  }

  /** What all would take that take anything. */
  get wanted(): number {
    this.#forgetGone();
    return this.#wanted;
  }

  /** How many there were when those that had gone were last forgotten. */
  #swept = 0;

  #forgetGone(): void {
    for (const [key, { wanted, holder }] of this.#shares) {
      if (holder.deref() !== undefined) continue;
      this.#shares.delete(key);
      this.#wanted -= wanted;
    }
    this.#swept = this.#shares.size;
  }

  /** The most that one may get, so that all together get no more than there is. */
  #findLevel(sum: number, key: string, wants: number): number {
    const wanted = Array.from(this.#shares.values(), (share) => share.wanted);
    if (!this.#shares.has(key)) wanted.push(wants);
    wanted.sort((a, b) => b - a);
    // From the largest on: cut to what is left when all smaller ones get theirs.
    let rest = sum;
    for (const [index, one] of wanted.entries()) {
      rest -= one;
      const most = Math.floor((this.#total - rest) / (index + 1));
      if (most >= (wanted[index + 1] ?? 0)) return most;
    }
    return 0;
  }
}
