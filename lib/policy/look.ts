/**
 * Looks at members whose references others may have reset.
 *
 * @module
 */

import { sleep, SOON } from "../collection/observe.ts";
import { ProcessError } from "../errors.ts";
import type { Member } from "../group/member.ts";
import type { Log } from "../platform/output.ts";
import type { EnforcementOptions } from "./policy.ts";

/**
 * Has what is in use show once more, and keeps what shows so soon that hardly anybody
 * has reset it again.
 */
export async function lookSoon(
  members: readonly Member[],
  { signal, log }: EnforcementOptions,
): Promise<void> {
  for (const member of members) {
    await tolerate(member, log, () => member.memory.refresh());
  }
  await sleep(SOON, signal);
  for (const member of members) {
    if (signal.aborted) return;
    await tolerate(member, log, () => member.glance());
  }
}

/** Does something with a member; that it has gone or cannot be read ends nothing. */
export async function tolerate(
  { entry }: Member,
  log: Log,
  step: () => Promise<void>,
): Promise<void> {
  try {
    await step();
  } catch (error) {
    if (!(error instanceof ProcessError)) throw error;
    log.debug(
      `process ${entry.pid} (${entry.comm}) passed over: ${error.message}`,
    );
  }
}
