/**
 * What goes first: the names of the policies.
 *
 * @module
 */

/**
 * - `clock`: one process after another, in address order, for ever, like the hand
 *   of a clock; what was not referenced goes. The original daemon's.
 * - `coldest`: the pages of all processes, by how long they have not been used.
 */
export const POLICIES = ["clock", "coldest"] as const;
export type PolicyName = typeof POLICIES[number];

/** The policy where none is asked for. */
export const DEFAULT_POLICY: PolicyName = "clock";
