/**
 * The processor time that calls on another thread take.
 *
 * @module
 */

/**
 * Measures the processor time that calls of a list take on their thread: time in which
 * they wait, for example for a lock, does not count. See clock_gettime(2).
 */
export class ThreadClock {
  /** Two `struct timespec`: at the start, and at the last stop. */
  readonly times: BigUint64Array<ArrayBuffer> = new BigUint64Array(4);

  /** The time between them, in seconds; 0 if the clock was not stopped. */
  get seconds(): number {
    const [began, beganPart, ended, endedPart] = this.times;
    if (ended === 0n && endedPart === 0n) return 0;
    return Number(ended - began) + Number(endedPart - beganPart) / 1e9;
  }
}
