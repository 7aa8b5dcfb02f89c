/**
 * The operating system illumos, as rcap uses it.
 *
 * @module
 */

import { IllumosLibc } from "../../../ffi/illumos_libc.ts";
import { IllumosFiles } from "../../../ffi/illumos_files.ts";
import { IllumosSockets } from "../../../ffi/illumos_socket.ts";
import { IllumosSystem } from "../../../ffi/illumos_system.ts";
import { CapabilityError } from "../../errors.ts";
import type { OperatingSystem } from "../operating_system.ts";
import { examine } from "./doctor.ts";
import { fateOf, holdProcess, ownUsage } from "./held_process.ts";
import {
  type IllumosPaths,
  IllumosPlatform,
  machineMemory,
} from "./illumos_platform.ts";
import { ProjectFile } from "./project_file.ts";

/** illumos, with its interfaces at the given paths. */
export function illumos(paths: IllumosPaths): OperatingSystem {
  const libc = lazily(() => new IllumosLibc(paths.libc));
  const system = lazily(() => new IllumosSystem(paths.libc, libc()));
  const files = lazily(() => new IllumosFiles(paths.libc, libc()));
  const sockets = lazily(() =>
    new IllumosSockets(paths.libsocket, () => system().descriptorLimit())
  );
  const place = () => ({ libc: libc(), root: paths.proc });
  const projects = () => new ProjectFile(paths.projects, libc());
  return {
    pagedataSources: ["proc"],
    // It counts no major faults, has no PSI, and tells no kinds of pages apart.
    missingCapKeys: ["max_refaults", "max_pressure", "max_swap_writes", "only"],
    // That of its own daemon.
    defaultPolicy: "clock",
    stopsToPageOut: true,
    open: () => new IllumosPlatform(paths),
    get files() {
      return files();
    },
    // filesystem(7): for temporary files of the system, which a restart removes.
    stateDirectory: "/var/run/rcap",
    boottimeSeconds: () => system().monotonicSeconds(),
    ownUsage: () => ownUsage(place()),
    openFilesLimit: () => system().descriptorLimit(),
    endConnection: (local, remote) => sockets().endConnection(local, remote),
    // A zone does not see the processes of other zones.
    processSpace: () => `zone:${system().zoneId()}`,
    fateOf: (id) => fateOf(place(), id),
    hold: (id) => holdProcess(place(), id),
    ignoresHangup() {
      try {
        return system().ignoresHangup();
      } catch (error) {
        // The command itself will report what is wrong; doctor says more.
        if (!(error instanceof CapabilityError)) throw error;
        return false;
      }
    },
    memory: () => machineMemory(system()),
    uidOfUser: (name) => system().uidOfUser(name),
    projectIdOf: (name) => projects().idOf(name),
    zoneIdOf: (name) => system().zoneIdOf(name),
    projectCaps: projects,
    // A process only sees its own zone, in which pids are unique.
    requireOwnProcesses() {},
    requirePrivileges() {
      const uid = system().effectiveUid();
      if (uid === 0) return Promise.resolve();
      throw new CapabilityError(
        `uid ${uid} cannot control the processes of others; run as root`,
      );
    },
    heldBy: () => [],
    trimOwnMemory() {
      // The C library gives back memory by itself.
    },
    examine: () => examine(paths),
  };
}

/** Creates a value when it is first used. */
function lazily<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}
