/**
 * The names of the policies, which decide which pages go first.
 *
 * @module
 */

/**
 * - `clock`: the policy of the original daemon. It goes through the processes in
 * turn, in address order, like the hand of a clock, and pages out what was not
 * referenced.
 * - `coldest`: pages out the pages of all processes in the order of their idle
 * time, the longest idle first.
 */
export const POLICIES = ["clock", "coldest"] as const;
export type PolicyName = typeof POLICIES[number];
