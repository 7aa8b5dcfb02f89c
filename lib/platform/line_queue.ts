/**
 * A queue of lines that are written in order, in the background. Adding a line
 * never waits; if too many lines wait, further ones are dropped and counted.
 *
 * @module
 */

/** Limits of what may wait. */
export interface QueueLimits {
  readonly lines: number;
  readonly bytes: number;
}

/** Enough for a burst of messages, with little memory. */
const LIMITS: QueueLimits = { lines: 1000, bytes: 256 * 1024 };

/**
 * The most bytes of several lines that one write takes: what a pipe takes
 * atomically (`PIPE_BUF`).
 */
const BATCH = 4096;

/** Lines that were dropped. */
export interface Loss {
  readonly lines: number;
  /** How long the write that held them up had lasted. */
  readonly seconds: number;
}

/** Describes a loss in a line. */
export type DescribeLoss = (loss: Loss) => string;

const encoder = new TextEncoder();

/** A queue of lines. */
export class LineQueue {
  readonly #write: (bytes: Uint8Array<ArrayBuffer>) => Promise<boolean>;
  readonly #limits: QueueLimits;
  #waiting: Uint8Array<ArrayBuffer>[] = [];
  #bytes = 0;
  #draining: Promise<void> | undefined;
  /** When the current write began. */
  #began = 0;
  #lost = 0;
  #lostSince = 0;
  #describeLoss: DescribeLoss | undefined;
  /** Whether the reader has gone. */
  #isClosed = false;

  /** @param write writes all bytes; resolves to `false` if the reader has gone. */
  constructor(
    write: (bytes: Uint8Array<ArrayBuffer>) => Promise<boolean>,
    limits = LIMITS,
  ) {
    this.#write = write;
    this.#limits = limits;
  }

  /**
   * Adds a line, including its newline, or drops it if too much is waiting.
   *
   * @param describeLoss describes the loss in place of dropped lines, once there is
   * room. Without it, the line is never dropped.
   */
  add(line: string, describeLoss?: DescribeLoss): void {
    if (this.#isClosed) return;
    const bytes = encoder.encode(line);
    if (describeLoss && !this.#hasRoom(bytes.length)) {
      if (this.#lost === 0) this.#lostSince = this.#began;
      this.#lost++;
      this.#describeLoss = describeLoss;
      return;
    }
    this.#reportLoss();
    this.#push(bytes);
    if (this.#draining) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#draining = promise;
    this.#drain().then(resolve);
  }

  /**
   * Waits until everything is written; gives up if no write ends for this many
   * milliseconds.
   */
  async flush(milliseconds: number): Promise<void> {
    const called = performance.now();
    while (this.#draining) {
      const since = Math.max(called, this.#began);
      const left = since + milliseconds - performance.now();
      if (left <= 0) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, left);
      await Promise.race([this.#draining, promise]);
      clearTimeout(timer);
    }
  }

  #hasRoom(bytes: number): boolean {
    // After a gap, no line is accepted before the gap is reported.
    return this.#lost === 0 && this.#waiting.length < this.#limits.lines &&
      this.#bytes + bytes <= this.#limits.bytes;
  }

  #push(bytes: Uint8Array<ArrayBuffer>): void {
    this.#waiting.push(bytes);
    this.#bytes += bytes.length;
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#takeBatch();
      this.#began = performance.now();
      try {
        this.#isClosed = !await this.#write(batch);
      } catch {
        // There is nowhere left to report it, and it is no reason to end the
        // program.
      }
      this.#bytes -= batch.length;
      if (this.#isClosed) this.#waiting = [];
      else this.#reportLoss();
    }
    // At once: a line that is added from now on starts another drain.
    this.#draining = undefined;
  }

  /**
   * Takes the first waiting lines: at least one, and no more than a pipe takes
   * atomically.
   */
  #takeBatch(): Uint8Array<ArrayBuffer> {
    let count = 1;
    let length = this.#waiting[0].length;
    while (
      count < this.#waiting.length &&
      length + this.#waiting[count].length <= BATCH
    ) {
      length += this.#waiting[count++].length;
    }
    const batch = new Uint8Array(length);
    let at = 0;
    for (const line of this.#waiting.splice(0, count)) {
      batch.set(line, at);
      at += line.length;
    }
    return batch;
  }

  /** Adds a line about dropped lines, if there are any. */
  #reportLoss(): void {
    if (this.#lost === 0 || !this.#describeLoss) return;
    const seconds = (performance.now() - this.#lostSince) / 1000;
    const loss = { lines: this.#lost, seconds };
    this.#lost = 0;
    this.#push(encoder.encode(this.#describeLoss(loss)));
  }
}
