/**
 * illumos, as rcap chooses it.
 *
 * @module
 */

import { IllumosLibc } from "../../../ffi/illumos_libc.ts";
import { IllumosSystem } from "../../../ffi/illumos_system.ts";
import { CapabilityError } from "../../errors.ts";
import type { OperatingSystem } from "../platform.ts";
import { examine } from "./doctor.ts";
import {
  type IllumosPaths,
  IllumosPlatform,
  machineMemory,
} from "./illumos_platform.ts";
import { ProjectFile } from "./project_file.ts";

/** illumos, with its parts where they are said to be. */
export function illumos(paths: IllumosPaths): OperatingSystem {
  const libc = lazily(() => new IllumosLibc(paths.libc));
  const system = lazily(() => new IllumosSystem(paths.libc, libc()));
  const projects = () => new ProjectFile(paths.projects, libc());
  return {
    pagedataSources: ["proc"],
    stopsToPageOut: true,
    open: () => new IllumosPlatform(paths),
    ignoresHangup() {
      try {
        return system().ignoresHangup();
      } catch (error) {
        // The command that is asked for will say what is wrong; doctor says more.
        if (!(error instanceof CapabilityError)) throw error;
        return false;
      }
    },
    memory: () => machineMemory(system()),
    uidOfUser: (name) => system().uidOfUser(name),
    projectIdOf: (name) => projects().idOf(name),
    zoneIdOf: (name) => system().zoneIdOf(name),
    projectCaps: projects,
    // A process sees its own zone's processes only, by one name.
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
      // Its C library gives back by itself what it can.
    },
    examine: () => examine(paths),
  };
}

/** Makes a value when it is first asked for. */
function lazily<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}
