/**
 * Lines that wait to be written, in order and beside everything else. Whoever adds
 * one never waits; when too many wait, more are dropped and counted.
 *
 * @module
 */

/** How much may wait. */
export interface QueueLimits {
  readonly lines: number;
  readonly bytes: number;
}

/** Plenty for a burst of messages, and little memory. */
const LIMITS: QueueLimits = { lines: 1000, bytes: 256 * 1024 };

/** So much is written at once, if more than a line waits: what a pipe takes in one go. */
const BATCH = 4096;

/** Lines that were dropped. */
export interface Loss {
  readonly lines: number;
  /** For how long lines have been waiting meanwhile. */
  readonly seconds: number;
}

/** How a loss is told, as a line. */
export type DescribeLoss = (loss: Loss) => string;

const encoder = new TextEncoder();

/** The queue. */
export class LineQueue {
  readonly #write: (bytes: Uint8Array<ArrayBuffer>) => Promise<boolean>;
  readonly #limits: QueueLimits;
  #waiting: Uint8Array<ArrayBuffer>[] = [];
  #bytes = 0;
  #draining: Promise<void> | undefined;
  /** When the write in flight began. */
  #began = 0;
  #lost = 0;
  #lostSince = 0;
  #describeLoss: DescribeLoss | undefined;
  /** Nobody reads it any more. */
  #isClosed = false;

  /** @param write writes bytes in full; resolves to `false` once nobody reads them. */
  constructor(
    write: (bytes: Uint8Array<ArrayBuffer>) => Promise<boolean>,
    limits = LIMITS,
  ) {
    this.#write = write;
    this.#limits = limits;
  }

  /**
   * Adds a line, with its end, or drops it when too much is waiting.
   *
   * @param describeLoss tells in the line's stead how many were dropped, once there
   * is room; where there is none, it is added in any case.
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
    this.#tellLoss();
    this.#push(bytes);
    this.#draining ??= this.#drain().finally(() => this.#draining = undefined);
  }

  /** Waits until all is written, for so many milliseconds at most while nothing is. */
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
    // After a gap none gets in before it is told of.
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
        // There is nowhere left to say so, and it is no reason to end anything.
      }
      this.#bytes -= batch.length;
      if (this.#isClosed) this.#waiting = [];
      else this.#tellLoss();
    }
  }

  /** The first lines that wait: at least one, and no more than a pipe takes at once. */
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

  /** Adds a line about those that were dropped, if any were. */
  #tellLoss(): void {
    if (this.#lost === 0 || !this.#describeLoss) return;
    const seconds = (performance.now() - this.#lostSince) / 1000;
    const loss = { lines: this.#lost, seconds };
    this.#lost = 0;
    this.#push(encoder.encode(this.#describeLoss(loss)));
  }
}
