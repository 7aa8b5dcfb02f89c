/**
 * Which rcap resets the references of a process.
 *
 * A reference bit is reset for everybody. If two rcaps observe one process, each takes
 * for idle what the other has reset. So one at a time resets the references of a
 * process: it holds a lock on it. A daemon that holds the lock lends the references of
 * the process to commands that ask it.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import type { ProcessId } from "../platform/platform.ts";

/** The rights of one rcap to reset the references of processes. */
export interface ResetRights {
  /**
   * Called before the references of a process are reset.
   *
   * @returns whether this rcap resets them itself. If not, they have been reset by the
   * rcap that lends them, or stay as they are because they are lent.
   * @throws ObservedElsewhere if another rcap resets them and lends nothing.
   */
  take(id: ProcessId): Promise<boolean>;
  /**
   * Whether this rcap itself resets the references of a process.
   *
   * @throws ObservedElsewhere if it had borrowed them, and they were taken back.
   */
  owns(id: ProcessId): boolean;
  /** Gives up the right to a process, unless its references are lent. */
  release(id: ProcessId): void;
  /** Gives up the rights to all other processes that are not lent. */
  retain?(members: Iterable<ProcessId>): void;
  /** Why the right to a process was last refused, in words for users. */
  refusalOf(id: ProcessId): string | undefined;
}

/** Another rcap resets the references of a process. */
export class ObservedElsewhere extends ProcessError {
  override name = "ObservedElsewhere";
}

/** Names the process of an rcap; 0 or less if it is not visible here. */
export function rcapOf(holder: number): string {
  return holder > 0
    ? `rcap (process ${holder})`
    : "an rcap in another pid namespace";
}

/** A process as the key of a map. */
export function keyOf({ pid, startTime }: ProcessId): string {
  return `${pid} ${startTime}`;
}
