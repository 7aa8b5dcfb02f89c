/**
 * Keeping one collection under its cap: recording references from some size on,
 * and scanning when it is over.
 *
 * @module
 */

import { narrate } from "../collection/narrate.ts";
import { sleep, TRUSTED_OBSERVATION } from "../collection/observe.ts";
import type { CappedGroup } from "../group/capped_group.ts";
import type { Member } from "../group/member.ts";
import { scan } from "../scanner/scan.ts";
import { lookSoon, tolerate } from "./look.ts";
import type { EnforcementOptions, ScanOutcome } from "./policy.ts";

/** History begins anew after so many intervals, but not sooner than after a minute. */
const WINDOW_INTERVALS = 12;
const SHORTEST_WINDOW = 60_000;

/**
 * A scan goes this much below the cap where unreferenced memory suffices for that,
 * as a share of the cap and in bytes at the most: a collection that settled at its
 * cap exactly would be over it again with its next page.
 */
const HEADROOM_SHARE = 0.01;
const MOST_HEADROOM = 16 << 20;

/** How long what is in use has to show once more before a scan, in milliseconds. */
const REFRESH = 1000;
/** How often it is looked at meanwhile. */
const GLANCES = 4;

/**
 * Records references of all members, those of new members too, and begins
 * history anew when it gets old.
 */
export async function keepHistory(
  collection: CappedGroup,
  { interval, signal, log }: EnforcementOptions,
): Promise<void> {
  const window = Math.max(SHORTEST_WINDOW, interval * WINDOW_INTERVALS);
  for (const member of collection.members) {
    if (signal.aborted) return;
    const now = performance.now();
    await tolerate(member, log, async () => {
      if (member.observedSince === undefined) await member.observe(now);
      else if (now - member.windowSince >= window) await member.renew(now);
    });
  }
}

/** Records no references any more. */
export function forgetHistory(collection: CappedGroup): void {
  for (const member of collection.members) member.forget();
}

/**
 * Scans a collection once, sparing members whose references have not been
 * recorded for an interval.
 *
 * @param excess by how much it should fall at the most, in bytes.
 * @returns `undefined` when there is nothing to scan yet, or no longer.
 */
export async function enforce(
  collection: CappedGroup,
  excess: number,
  options: EnforcementOptions,
): Promise<ScanOutcome | undefined> {
  const { interval, signal, log } = options;
  const least = Math.max(TRUSTED_OBSERVATION, interval * 0.9);
  const now = performance.now();
  const judged = collection.members.filter((member) =>
    member.isObserved(now, least)
  );
  if (judged.length === 0) return undefined;
  await lookAgain(judged, options);
  // What has gone by itself need not be paged out.
  const wanted = Math.min(
    excess,
    await collection.measure(now) - collection.cap,
  );
  if (wanted <= 0 || signal.aborted) return undefined;

  const started = performance.now();
  const members = collection.members;
  const { scanned } = collection;
  const mayJudge = new Set(judged);
  scanned.processes = members.filter((member) => mayJudge.has(member))
    .map((member) => member.scanned);
  const before = { ...scanned.statistics };
  const readings = new Map(
    members.map((member) => [member, member.scanned.pagedata]),
  );
  const spareReferenced = scanned.processes.length < members.length;
  const headroom = options.isBounded ? 0 : headroomOf(collection, wanted);
  collection.scans++;
  const result = await scan(scanned, {
    excess: wanted + headroom,
    spareReferenced,
    signal,
    onEvent: log.has("debug")
      ? (event) =>
        narrate(event).forEach((line) =>
          log.debug(`${collection.name}: ${line}`)
        )
      : undefined,
  });
  for (const member of members) {
    // A new reading has begun a new window.
    if (member.scanned.pagedata !== readings.get(member)) {
      member.windowSince = started;
    }
  }
  const { statistics } = scanned;
  const left = result.excess - headroom;
  // That headroom could not be made is nothing to complain of.
  const ineffective = statistics.ineffective > before.ineffective && left > 0;
  if (ineffective) collection.ineffectiveScans++;
  return {
    attempted: statistics.attempted - before.attempted,
    effective: statistics.effective - before.effective,
    left,
    ineffective,
    isPartial: spareReferenced,
    seconds: (performance.now() - started) / 1000,
  };
}

/** How far below the cap a scan may go with unreferenced memory alone, in bytes. */
function headroomOf({ cap, scanned }: CappedGroup, excess: number): number {
  const unreferenced = scanned.processes.reduce(
    (sum, process) => sum + process.unreferenced,
    0,
  );
  const wanted = Math.min(cap * HEADROOM_SHARE, MOST_HEADROOM);
  return Math.max(0, Math.min(wanted, unreferenced - excess));
}

/**
 * Has what is in use show once more, and keeps what it shows. Others may have
 * reset references meanwhile: the kernel does to find pages to reclaim, and DAMON
 * for its statistics.
 */
async function lookAgain(
  members: readonly Member[],
  options: EnforcementOptions,
): Promise<void> {
  await lookSoon(members, options);
  const { interval, signal, log } = options;
  const pause = Math.min(REFRESH, interval / 2) / GLANCES;
  for (let glance = 0; glance < GLANCES && !signal.aborted; glance++) {
    await sleep(pause, signal);
    for (const member of members) {
      await tolerate(member, log, () => member.glance());
    }
  }
}
