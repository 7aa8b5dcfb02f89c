/**
 * The idle times that `idle = "auto"` has found for the caps of a configuration, for
 * `rcap check`.
 *
 * @module
 */

import type { CapConfig } from "../config/config.ts";
import { RcapError } from "../errors.ts";
import { IdleTime } from "../group/idle_time.ts";
import { describeIdleTime } from "../group/idle_words.ts";
import { selectionOf } from "../group/learnt_group.ts";
import type { IdleTimeState } from "../group/state.ts";
import type { OperatingSystem } from "../platform/operating_system.ts";
import { type Learnt, readLearnt } from "./learnt_file.ts";

/** What daemons have learnt, as JSON: times in seconds. */
export interface LearntReport {
  readonly directory: string;
  /** Why it is not known; null if it is. */
  readonly problem: string | null;
  /** When it was kept, as an ISO 8601 date; null if that is not known, or nothing is kept. */
  readonly at: string | null;
  /** The caps with `idle = "auto"`; nothing was learnt of one that has no idle time. */
  readonly caps: readonly {
    readonly name: string;
    readonly idleTime: Omit<IdleTimeState, "raisedBy"> | null;
  }[];
}

/**
 * Reads what daemons have learnt for the caps of a configuration.
 *
 * @param directory where the daemon keeps it.
 * @returns `undefined` if no cap has `idle = "auto"`.
 */
export function learntReport(
  caps: readonly CapConfig[],
  system: Pick<OperatingSystem, "files">,
  directory: string,
): LearntReport | undefined {
  const able = caps.filter(({ idle }) => idle === "auto");
  if (able.length === 0) return undefined;
  let learnt: Learnt = { groups: [] };
  let problem: string | null = null;
  try {
    learnt = readLearnt(system, directory);
  } catch (error) {
    if (!(error instanceof RcapError)) throw error;
    problem = error.message;
  }
  return {
    directory,
    problem,
    at: learnt.at === undefined
      ? null
      : new Date(learnt.at * 1000).toISOString(),
    caps: able.map((cap) => {
      const found = learnt.groups.find(({ name, select }) =>
        name === cap.name && select === selectionOf(cap)
      );
      if (!found) return { name: cap.name, idleTime: null };
      const { raisedBy: _, ...idleTime } = new IdleTime(found.idleTime).state;
      return { name: cap.name, idleTime };
    }),
  };
}

/** Describes it, a line for each cap with `idle = "auto"`. */
export function describeLearnt(
  { directory, problem, at, caps }: LearntReport,
): string[] {
  // As in 2026-01-31 12:00:00 UTC.
  const date = at?.replace("T", " ").replace(/\..*/, " UTC");
  const when = date === undefined ? "" : ` (${date})`;
  return caps.map(({ name, idleTime }) => {
    if (problem !== null) {
      return `${name}: idle time auto: what was learnt in ${directory} is not known (${problem})`;
    }
    if (idleTime === null) return `${name}: idle time auto: nothing learnt yet`;
    return `${name}: ${
      describeIdleTime({ ...idleTime, raisedBy: null })
    }${when}`;
  });
}
