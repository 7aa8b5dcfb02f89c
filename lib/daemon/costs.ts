/**
 * What it costs processes to be observed and paged out, as the daemon knows it.
 *
 * @module
 */

import { describePageIns, describeReference } from "../platform/cost_words.ts";
import type { Clock } from "../platform/clock.ts";
import type { Log } from "../platform/output.ts";
import type {
  CostOptions,
  MemoryCosts,
  Platform,
} from "../platform/platform.ts";
import { describeError } from "./troubles.ts";

/** How long the end of the daemon waits for a measurement, in milliseconds. */
const PATIENCE = 100;

/** Measures costs beside the loop: a disk may be slow, and nothing waits for it. */
export class Costs {
  readonly #platform: Pick<Platform, "costs">;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #signal: AbortSignal;
  #known: MemoryCosts | null = null;
  #measuring: Promise<void> | undefined;

  constructor({ platform, clock, log, signal }: {
    platform: Pick<Platform, "costs">;
    clock: Clock;
    log: Log;
    signal: AbortSignal;
  }) {
    this.#platform = platform;
    this.#clock = clock;
    this.#log = log;
    this.#signal = signal;
  }

  /** What has been measured; null if nothing has. */
  get known(): MemoryCosts | null {
    return this.#known;
  }

  /** Measures what has not been measured yet. Returns at once. */
  measure(): void {
    this.#measuring ??= this.#measureAll()
      .finally(() => this.#measuring = undefined);
  }

  /** Waits for a measurement in progress to end, but not for a disk that does not answer. */
  async ended(): Promise<void> {
    if (!this.#measuring) return;
    const rest = new AbortController();
    await Promise.race([
      this.#measuring,
      this.#clock.sleep(PATIENCE, rest.signal),
    ]);
    rest.abort();
  }

  async #measureAll(): Promise<void> {
    await this.measureReferences();
    await this.#measure({ ofPageIns: true });
  }

  /** Measures what a reference costs, if it is not known. */
  async measureReferences(): Promise<void> {
    await this.#measure({ ofPageIns: false });
  }

  async #measure(options: CostOptions): Promise<void> {
    try {
      const costs = await this.#platform.costs?.(options) ?? null;
      if (costs) this.#logNew(costs);
      this.#known = costs;
    } catch (error) {
      if (this.#signal.aborted) return;
      this.#log.warn(`costs cannot be measured: ${describeError(error)}`);
    }
  }

  #logNew({ reference, pageIns }: MemoryCosts): void {
    const before = this.#known;
    if (reference !== before?.reference) {
      this.#log.info(
        `the first reference to a page ${describeReference(reference)}`,
      );
    }
    const others = pageIns.slice(before?.pageIns.length);
    if (others.length > 0) {
      this.#log.info(`a page-in ${describePageIns(others)}`);
    }
  }
}
