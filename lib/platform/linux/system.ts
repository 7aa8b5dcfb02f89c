/**
 * The operating system Linux, as rcap uses it.
 *
 * @module
 */

import { boottimeSeconds, monotonicMicroseconds } from "../../../ffi/clock.ts";
import { linuxByteLocks, linuxFiles } from "../../../ffi/linux_files.ts";
import { NotifySocket } from "../../../ffi/notify_socket.ts";
import { endConnection } from "../../../ffi/linux_socket.ts";
import { ignoresHangup, uidOfUser } from "../../../ffi/system.ts";
import { openFilesLimit, ownUsage } from "../../../ffi/usage.ts";
import type { OperatingSystem } from "../operating_system.ts";
import { examine } from "./doctor.ts";
import { fateOf, holdProcess, ownPidNamespace } from "./held_process.ts";
import {
  availableMemory,
  LinuxPlatform,
  machineMemory,
  whyNotReclaimable,
} from "./linux_platform.ts";
import { readTextFile } from "../../../ffi/file.ts";
import { ownCgroup, setOwnCgroup } from "./cgroup_namespace.ts";
import { HostFiles } from "./host_files.ts";
import { parseMountinfo } from "./mountinfo.ts";
import { OBSERVERS } from "../observers_directory.ts";
import { unstoppableProcesses } from "./memory_calls.ts";
import { openPagedataSource, PAGEDATA_SOURCES } from "./open_source.ts";
import { trimOwnMemory } from "./own_memory.ts";
import { requireOwnProc, warnIfHidden } from "./own_proc.ts";
import { DAEMON_CAPABILITIES, requireCapabilities } from "./privileges.ts";
import { requirePageout, systemMemory } from "./system_calls.ts";

/** The files of the machine, once they are known to be elsewhere. */
let host: HostFiles | undefined;

/** Linux. */
export const linux: OperatingSystem = {
  pagedataSources: PAGEDATA_SOURCES,
  defaultPolicy: "coldest",
  stopsToPageOut: false,
  open(choice, warn, signal) {
    requireOwnProc();
    // Checked here, to fail with a clear message: page-outs read it all the time.
    systemMemory();
    warnIfHidden(warn);
    return new LinuxPlatform(openPagedataSource(choice, warn), signal, host);
  },
  files: linuxFiles,
  // hier(7).
  stateDirectory: "/run/rcap",
  observers: { directory: OBSERVERS, locks: linuxByteLocks },
  systemd: {
    notifySocket: (address) => new NotifySocket(address),
    monotonicMicroseconds,
    capabilities: DAEMON_CAPABILITIES,
  },
  boottimeSeconds,
  ownUsage,
  openFilesLimit,
  endConnection,
  processSpace: ownPidNamespace,
  fateOf,
  hold: holdProcess,
  ignoresHangup,
  whyNotReclaimable,
  memory: machineMemory,
  useHostRoot(directory) {
    host = HostFiles.mountedIn(directory);
    const mounts = parseMountinfo(readTextFile("/proc/self/mountinfo"));
    setOwnCgroup(ownCgroup(linuxFiles, mounts));
  },
  uidOfUser: async (name) =>
    host ? host.uidOfUser(name) : await uidOfUser(name),
  requireOwnProcesses: requireOwnProc,
  async requirePrivileges() {
    requireOwnProc();
    requireCapabilities();
    await requirePageout();
    // A daemon compares this with its threshold all the time.
    availableMemory();
  },
  heldBy: unstoppableProcesses,
  trimOwnMemory,
  examine,
};
