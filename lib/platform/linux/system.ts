/**
 * Linux, as rcap chooses it.
 *
 * @module
 */

import { uidOfUser } from "../../../ffi/system.ts";
import type { OperatingSystem } from "../platform.ts";
import { examine } from "./doctor.ts";
import { LinuxPlatform, machineMemory } from "./linux_platform.ts";
import { openPagedataSource, PAGEDATA_SOURCES } from "./pagedata_source.ts";
import { requirePrivileges } from "./privileges.ts";

/** Linux. */
export const linux: OperatingSystem = {
  pagedataSources: PAGEDATA_SOURCES,
  stopsToPageOut: false,
  open: (choice, warn) => new LinuxPlatform(openPagedataSource(choice, warn)),
  memory: machineMemory,
  uidOfUser,
  requirePrivileges,
  examine,
};
