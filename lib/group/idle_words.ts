/**
 * The idle time that rcap has found, in words for users.
 *
 * @module
 */

import { countOf, formatSeconds } from "../report/units.ts";
import type { IdleTimeState } from "./state.ts";

/** Describes the idle time of `idle = "auto"`: how long it is, and from what it is known. */
export function describeIdleTime(
  { seconds, minutes, leastMinutes, raisedBy }: IdleTimeState,
): string {
  if (seconds === null) {
    return `idle time auto: learning, ${minutes} of ${leastMinutes} minutes`;
  }
  const why = raisedBy === null
    ? ""
    : `; ${raisedBy} lengthened it within the last hour`;
  return `idle time auto: ${formatSeconds(seconds)}, from ${
    countOf(minutes, "minute")
  }${why}`;
}
