/**
 * System calls that rcap cannot do without, with the cause and the remedy where
 * they are refused whatever the process.
 *
 * @module
 */

import { SystemError } from "../../errors.ts";
import { MADV_PAGEOUT, Pidfd, RemoteRanges } from "../../../ffi/pidfd.ts";
import { type MemoryInfo, memoryInfo } from "../../../ffi/system.ts";
import { refusal, type SystemCall } from "./refusals.ts";

/** pidfd_open(2). */
const PIDFD_OPEN: SystemCall = {
  name: "pidfd_open",
  since: [5, 3],
  capabilities: [],
};

/** process_madvise(2), for the memory of others. */
const PROCESS_MADVISE: SystemCall = {
  name: "process_madvise",
  since: [5, 10],
  capabilities: ["CAP_SYS_NICE"],
};

/** sysinfo(2). */
const SYSINFO: SystemCall = {
  name: "sysinfo",
  since: [2, 4],
  capabilities: [],
};

/**
 * Physical memory and swap now.
 *
 * @throws CapabilityError when that is refused.
 */
export function systemMemory(): MemoryInfo {
  return explained(SYSINFO, memoryInfo);
}

/**
 * Opens a descriptor of the process that has a pid now.
 *
 * @throws CapabilityError when that is refused whatever the process.
 * @throws SystemError `ESRCH` when there is none.
 */
export function openPidfd(pid: number): Pidfd {
  // The kernel itself lets everyone do so.
  return explained(PIDFD_OPEN, () => Pidfd.open(pid));
}

/**
 * Makes sure that processes can be paged out, as far as that does not depend on
 * the process.
 *
 * @throws CapabilityError when a system call is refused even for rcap itself.
 */
export async function requirePageout(): Promise<void> {
  using self = openPidfd(Deno.pid);
  try {
    await self.madvise(new RemoteRanges(0), { from: 0, advice: MADV_PAGEOUT });
  } catch (error) {
    throw explanation(PROCESS_MADVISE, error);
  }
}

function explained<T>(call: SystemCall, step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw explanation(call, error);
  }
}

function explanation(call: SystemCall, error: unknown): unknown {
  return error instanceof SystemError ? refusal(error, call) : error;
}
