/**
 * Linux, as rcap chooses it.
 *
 * @module
 */

import { readTextFile } from "../../../ffi/file.ts";
import { uidOfUser } from "../../../ffi/system.ts";
import type { OperatingSystem } from "../platform.ts";
import { examine } from "./doctor.ts";
import { LinuxPlatform, machineMemory } from "./linux_platform.ts";
import { trimOwnMemory } from "./own_memory.ts";
import { openPagedataSource, PAGEDATA_SOURCES } from "./pagedata_source.ts";
import { requirePrivileges } from "./privileges.ts";

/** Linux. */
export const linux: OperatingSystem = {
  pagedataSources: PAGEDATA_SOURCES,
  stopsToPageOut: false,
  open: (choice, warn, signal) =>
    new LinuxPlatform(openPagedataSource(choice, warn), signal),
  ignoresHangup,
  memory: machineMemory,
  uidOfUser,
  requirePrivileges,
  trimOwnMemory,
  examine,
};

/** `SigIgn` of our own status: proc_pid_status(5). SIGHUP is the first signal. */
function ignoresHangup(): boolean {
  const ignored = /^SigIgn:\s*([0-9a-f]+)$/m.exec(
    readTextFile("/proc/self/status"),
  )?.[1] ?? "0";
  return (BigInt(`0x${ignored}`) & 1n) !== 0n;
}
