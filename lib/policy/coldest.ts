/**
 * Keeping one collection under its cap by the ages of its pages: every interval
 * all of them are one older, but for those in use, and the oldest go.
 *
 * @module
 */

import { narrate } from "../collection/narrate.ts";
import type { CappedGroup } from "../group/capped_group.ts";
import { scanColdest } from "../scanner/coldest.ts";
import { lookSoon, tolerate } from "./look.ts";
import type { EnforcementOptions, ScanOutcome } from "./policy.ts";

/**
 * How far below its cap a collection is brought, as shares of the cap: room for what
 * an interval brings, so that it is under its cap on average and not only just after
 * a scan. It is made of idle memory only.
 */
const LEAST_HEADROOM = 0.01;
const MOST_HEADROOM = 0.05;

/** What is cooled, as a multiple of what the last interval brought. */
const RESERVE_FACTOR = 1.5;

/**
 * How long an interval of ages is at least, in milliseconds. Every reset makes a
 * process pay again, for each page that it uses, for the processor to note that.
 */
const SHORTEST_INTERVAL = 5000;

/** The first interval need not be longer than this: something may have to go soon. */
const FIRST_INTERVAL = 2000;

/** A member's residency is read anew after so many milliseconds. */
const RESIDENCY_LIFE = 60_000;

/** Begins to keep ages of all members, or ends an interval of those that have ages. */
export async function keepAges(
  collection: CappedGroup,
  { interval, signal, log, isOnlyScan = false }: EnforcementOptions,
): Promise<void> {
  // Timers are not exact.
  const least = interval * 0.9;
  for (const member of collection.members) {
    if (signal.aborted) return;
    await tolerate(member, log, async () => {
      const now = performance.now();
      if (member.observedSince === undefined) await member.observe(now);
      else if (isOnlyScan) await member.age(0);
      else if (!member.scanned.ages.pagedata) {
        await member.age(Math.min(least, FIRST_INTERVAL));
      } else if (collection.agesFaster) await member.age(least);
      else await member.age(Math.max(least, SHORTEST_INTERVAL));
    });
  }
}

/**
 * Pages out the oldest pages of a collection, and cools what should go next.
 *
 * @param excess by how much it should fall at the most, in bytes; 0 to cool only.
 * @returns `undefined` when nothing was paged out.
 */
export async function enforceByAge(
  collection: CappedGroup,
  excess: number,
  options: EnforcementOptions,
): Promise<ScanOutcome | undefined> {
  const { signal, log, isBounded = false, isOnlyScan } = options;
  const members = collection.members;
  const aged = members.filter((member) =>
    member.scanned.ages.pagedata !== undefined
  );
  if (aged.length === 0) return undefined;
  const started = performance.now();
  const { cap, scanned } = collection;
  const over = await collection.measure(started) - cap;
  const grown = collection.takeGrowth();
  collection.expectedGrowth = Math.min(
    Math.max(grown, collection.expectedGrowth / 2),
    cap * MOST_HEADROOM,
  );
  const headroom = isBounded
    ? 0
    : Math.max(cap * LEAST_HEADROOM, collection.expectedGrowth);
  const reserve = Math.max(headroom, grown * RESERVE_FACTOR);
  const allowed = excess > 0 ? Math.min(excess, over + headroom) : 0;
  // Memory in use goes for what is really too much, and idle memory for the rest.
  const wanted = Math.max(0, Math.min(allowed, over));
  // Far from its cap, nothing will have to go in the next interval.
  if (signal.aborted || (allowed <= 0 && over < -2 * reserve)) return undefined;

  // Nothing goes that is in use and only looks idle, since others reset references.
  if (allowed > 0) await lookSoon(aged, options);
  if (signal.aborted) return undefined;
  for (const member of aged) {
    await tolerate(member, log, () => member.keepResidency(RESIDENCY_LIFE));
  }
  scanned.processes = aged.map((member) => member.scanned);
  const before = { ...scanned.statistics };
  let tookInUse = false;
  const result = await scanColdest(scanned, {
    excess: wanted,
    headroom: excess > 0 ? headroom - Math.max(0, -over) : 0,
    reserve: isOnlyScan ? undefined : reserve,
    spareReferenced: aged.length < members.length,
    signal,
    onEvent(event) {
      if (event.type === "insufficient") tookInUse = true;
      if (!log.has("debug")) return;
      for (const line of narrate(event)) {
        log.debug(`${collection.name}: ${line}`);
      }
    },
  });
  collection.tookInUse = tookInUse;
  // Where little is idle, pages have to be told apart sooner.
  collection.agesFaster = result.idle < (allowed + reserve) * 2;
  const { statistics } = scanned;
  const effective = statistics.effective - before.effective;
  collection.noteSize(collection.size - effective);
  if (statistics.attempted === before.attempted) return undefined;
  collection.scans++;
  const left = result.excess;
  const ineffective = statistics.ineffective > before.ineffective && left > 0;
  if (ineffective) collection.ineffectiveScans++;
  return {
    attempted: statistics.attempted - before.attempted,
    effective,
    left,
    ineffective,
    isPartial: aged.length < members.length,
    seconds: (performance.now() - started) / 1000,
  };
}
