// @ts-check
/**
 * The part of an axis that is shown: of the time, or of addresses.
 *
 * @module
 */

/** The part of an axis that is shown. */
export class ShownRange {
  /**
   * @param {number} first
   * @param {number} last
   * @param {number} least the shortest part
   */
  constructor(first, last, least) {
    this.first = first;
    this.last = last;
    this.least = Math.min(least, last - first);
    this.from = first;
    this.to = last;
    /** @type {(() => void)[]} */
    this.listeners = [];
  }

  /**
   * Shows from one place to another, as far as there is something.
   *
   * @param {number} from
   * @param {number} to
   */
  show(from, to) {
    const length = Math.min(
      Math.max(to - from, this.least),
      this.last - this.first,
    );
    const start = Math.min(
      Math.max((from + to - length) / 2, this.first),
      this.last - length,
    );
    if (start === this.from && start + length === this.to) return;
    this.from = start;
    this.to = start + length;
    for (const listener of this.listeners) listener();
  }

  showAll() {
    this.show(this.first, this.last);
  }

  /**
   * Moves as little as is needed to show a place.
   *
   * @param {number} from
   * @param {number} to
   */
  reveal(from, to) {
    const length = this.to - this.from;
    if (from < this.from) this.show(from, from + length);
    else if (to > this.to) this.show(to - length, to);
  }

  /**
   * @param {number} factor below one shows less
   * @param {number} [middle] what is in the middle then
   */
  zoom(factor, middle = (this.from + this.to) / 2) {
    const half = (this.to - this.from) / 2 * factor;
    this.show(middle - half, middle + half);
  }

  /**
   * @param {number} share of what is shown
   */
  move(share) {
    const by = share * (this.to - this.from);
    this.show(this.from + by, this.to + by);
  }

  /**
   * @param {import("./gestures.js").Stretch} stretch
   * @param {number} start where the axis begins, in pixels
   * @param {number} length
   */
  pinch({ at, to, scale }, start, length) {
    const after = (this.to - this.from) / scale;
    const from = this.valueAt((at - start) / length) -
      (to - start) / length * after;
    this.show(from, from + after);
  }

  /**
   * @param {number} share of what is shown
   * @returns {number}
   */
  valueAt(share) {
    return this.from + share * (this.to - this.from);
  }
}
