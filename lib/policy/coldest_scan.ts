/**
 * The policy `coldest` in charge of a one-shot scan.
 *
 * @module
 */

import type { Clock } from "../platform/clock.ts";
import { AgedCollection } from "../scanner/aged_collection.ts";
import { scanColdest } from "../scanner/coldest.ts";
import type { ScanOptions, ScanResult } from "../scanner/scan.ts";
import { Aging } from "./coldest_member.ts";
import { RESTS_AFTER } from "./coldest_pace.ts";
import type {
  ObservedProcess,
  OneShotPolicy,
  ProcessAccess,
} from "./policy.ts";

/** The policy in charge of a one-shot scan. */
export class ColdestScan implements OneShotPolicy {
  readonly processes: readonly ObservedProcess[];
  readonly #collection: AgedCollection;

  constructor(processes: readonly ProcessAccess[], clock: Clock) {
    const agings = processes.map((access) => new Aging(access, clock));
    this.processes = agings.map((aging): ObservedProcess => ({
      target: aging.aged,
      glance: () => aging.look(),
      refresh: () => aging.refresh(),
      endPart: () => aging.advance(),
      async end() {
        await aging.advance();
        await aging.refresh();
        await aging.readResidency();
        aging.aged.isResting = aging.rests(RESTS_AFTER);
      },
      unreferenced: () =>
        aging.aged.isAged ? aging.aged.ages.neverReferencedBytes : null,
    }));
    this.#collection = new AgedCollection(agings.map(({ aged }) => aged));
  }

  get statistics(): AgedCollection["statistics"] {
    return this.#collection.statistics;
  }

  scan(options: ScanOptions): Promise<ScanResult> {
    return scanColdest(this.#collection, options);
  }
}
