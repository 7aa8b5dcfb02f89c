/**
 * System calls that rcap requires. If one is refused for every process, its error
 * gives the cause and the remedy.
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

/** process_madvise(2), for the memory of other processes. */
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
 * Returns physical memory and swap.
 *
 * @throws CapabilityError if the call is refused.
 */
export function systemMemory(): MemoryInfo {
  return explained(SYSINFO, memoryInfo);
}

/**
 * Opens a pidfd of the process that currently has a pid.
 *
 * @throws CapabilityError if the call is refused for every process.
 * @throws SystemError `ESRCH` if there is none.
 */
export function openPidfd(pid: number): Pidfd {
  // The kernel itself permits this call to everyone.
  return explained(PIDFD_OPEN, () => Pidfd.open(pid));
}

/**
 * Checks that processes can be paged out, as far as that does not depend on the
 * process.
 *
 * @throws CapabilityError if a system call is refused even for rcap itself.
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
