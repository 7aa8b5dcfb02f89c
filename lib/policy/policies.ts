/**
 * The policies by name.
 *
 * @module
 */

import type { PolicyName } from "../config/policy_names.ts";
import { clock } from "./clock.ts";
import { coldest } from "./coldest.ts";
import type { Policy } from "./policy.ts";

const policies: Readonly<Record<PolicyName, Policy>> = { clock, coldest };

/** The policy with a name. */
export function policyOf(name: PolicyName): Policy {
  return policies[name];
}
