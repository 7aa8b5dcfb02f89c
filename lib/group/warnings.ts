/**
 * What is wrong with a group, in words for users.
 *
 * @module
 */

import type { Clock } from "../platform/clock.ts";
import { formatTimeOfDay } from "../report/units.ts";
import type { Backoff } from "./backoff.ts";
import type { GuardRails } from "./guard_rails.ts";
import type { Member } from "./member.ts";

/** The most warnings that are reported. */
const MOST_WARNINGS = 5;

/** What may be wrong with a group: see `CappedGroup`. */
export interface Warned {
  readonly name: string;
  readonly members: readonly Member[];
  readonly warning: string | null;
  readonly stuck: string | undefined;
  readonly backoff: Backoff;
  readonly guard: GuardRails;
  readonly guardTrouble: string | null;
  readonly reclaimFailure: string | null;
}

/**
 * Why the cap cannot be met, which members do not answer or cannot be read, and
 * which are known coarsely; `null` if nothing is wrong.
 */
export function warningsOf(
  group: Warned,
  clock: Pick<Clock, "now" | "wallTime">,
): string | null {
  const { name, members, warning, backoff } = group;
  const { guard, guardTrouble, reclaimFailure } = group;
  const until = untilTime(backoff.until, clock, "it may exceed it, and");
  const why = warning === null ? group.stuck : warning + until;
  const all = [
    ...why === undefined ? [] : [why],
    ...reclaimFailure === null ? [] : [reclaimFailure],
    ...guardTrouble === null ? [] : [`${name}: ${guardTrouble}`],
    ...guard.heldBack(clock.now()).map(({ by, why }) =>
      `${name}: ${why}${
        by === "refaults" ? untilTime(guard.heldUntil, clock, "it") : ""
      }`
    ),
    ...members.flatMap(({ memory }) =>
      memory.silence ?? memory.unreadable ?? []
    ),
    ...members.flatMap(({ memory }) => memory.coarseness ?? []),
  ];
  if (all.length === 0) return null;
  const most = all.slice(0, MOST_WARNINGS);
  const others = all.length - most.length;
  return most.join("; ") + (others > 0 ? `; and ${others} more` : "");
}

/** Until when a group is left alone, in words that follow others; empty if it is over. */
function untilTime(
  until: number,
  clock: Pick<Clock, "now" | "wallTime">,
  subject: string,
): string {
  const left = until - clock.now();
  if (left <= 0) return "";
  const time = formatTimeOfDay(clock.wallTime() + left / 1000);
  return `; ${subject} is left alone until ${time}`;
}
