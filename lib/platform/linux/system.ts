/**
 * Linux, as rcap chooses it.
 *
 * @module
 */

import { ignoresHangup, uidOfUser } from "../../../ffi/system.ts";
import type { OperatingSystem } from "../platform.ts";
import { examine } from "./doctor.ts";
import {
  availableMemory,
  LinuxPlatform,
  machineMemory,
} from "./linux_platform.ts";
import { unstoppableProcesses } from "./memory_calls.ts";
import { openPagedataSource, PAGEDATA_SOURCES } from "./open_source.ts";
import { trimOwnMemory } from "./own_memory.ts";
import { requireOwnProc, warnIfHidden } from "./own_proc.ts";
import { requireCapabilities } from "./privileges.ts";
import { requirePageout, systemMemory } from "./system_calls.ts";

/** Linux. */
export const linux: OperatingSystem = {
  pagedataSources: PAGEDATA_SOURCES,
  stopsToPageOut: false,
  open(choice, warn, signal) {
    requireOwnProc();
    // Here in words, since page-outs ask for it all the time.
    systemMemory();
    warnIfHidden(warn);
    return new LinuxPlatform(openPagedataSource(choice, warn), signal);
  },
  ignoresHangup,
  memory: machineMemory,
  uidOfUser,
  requireOwnProcesses: requireOwnProc,
  async requirePrivileges() {
    requireOwnProc();
    requireCapabilities();
    await requirePageout();
    // A daemon compares that with its threshold all the time.
    availableMemory();
  },
  heldBy: unstoppableProcesses,
  trimOwnMemory,
  examine,
};
