/**
 * Shares a limited amount, such as room for records, among processes.
 *
 * @module
 */

/** The share of one process. */
interface Share {
  /** What it would take without a limit. */
  wanted: number;
  /** The share is in use for as long as this object exists. */
  readonly holder: WeakRef<object>;
}

/**
 * How much the sum of the demands must change before the limit is computed again,
 * as a share of the total.
 */
const STALE_SHARE = 0.02;

/**
 * Shares a limited amount max-min fairly: small demands are met in full, and all
 * larger ones get the same. So no process can take from another what that one
 * needs, unless there are too many of them.
 *
 * A share returns when its holder is no longer reachable. Until then, and until
 * processes with too large a share ask again, up to twice the total may be in use.
 */
export class Budget {
  readonly #total: number;
  readonly #shares = new Map<string, Share>();
  #wanted = 0;
  /** The most that one process gets, and the sum of demands it was computed for. */
  #level = { most: Infinity, at: -1 };

  /** @param total the amount. */
  constructor(total: number) {
    this.#total = total;
  }

  /**
   * Returns how much a process may take.
   *
   * @param key identifies the process.
   * @param wanted its demand, if none was noted before.
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
   * Records what a process would take without a limit.
   *
   * @param holder the object that uses the share. Nothing that the budget
   * references may reference it.
   */
  note(key: string, wanted: number, holder: object): void {
    const wants = this.#atMost(wanted);
    this.#wanted += wants - (this.#shares.get(key)?.wanted ?? 0);
    this.#shares.set(key, { wanted: wants, holder: new WeakRef(holder) });
    if (this.#shares.size > this.#swept * 2 + 1024) this.#forgetGone();
  }

  /** A demand above the total is equivalent to the total. */
  #atMost(wanted: number): number {
    return Math.min(wanted, this.#total);
  }

  /** The sum of the demands of all current holders. */
  get wanted(): number {
    this.#forgetGone();
    return this.#wanted;
  }

  /** The number of shares after the last sweep. */
  #swept = 0;

  #forgetGone(): void {
    for (const [key, { wanted, holder }] of this.#shares) {
      if (holder.deref() !== undefined) continue;
      this.#shares.delete(key);
      this.#wanted -= wanted;
    }
    this.#swept = this.#shares.size;
  }

  /** Computes the most that one process may get, so that the sum stays within the total. */
  #findLevel(sum: number, key: string, wants: number): number {
    const wanted = Array.from(this.#shares.values(), (share) => share.wanted);
    if (!this.#shares.has(key)) wanted.push(wants);
    wanted.sort((a, b) => b - a);
    // From the largest demand on: cut it to what is left after all smaller ones are
    // met.
    let rest = sum;
    for (const [index, one] of wanted.entries()) {
      rest -= one;
      const most = Math.floor((this.#total - rest) / (index + 1));
      if (most >= (wanted[index + 1] ?? 0)) return most;
    }
    return 0;
  }
}
