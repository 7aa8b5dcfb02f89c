/**
 * Chooses the platform for the operating system that rcap runs on.
 *
 * @module
 */

import { isSecureExecution } from "../../ffi/system.ts";
import { CapabilityError, UsageError } from "../errors.ts";
import { VARIABLES } from "./environment.ts";
import { ILLUMOS_PATHS } from "./illumos/illumos_platform.ts";
import { illumos } from "./illumos/system.ts";
import { linux } from "./linux/system.ts";
import type { OperatingSystem } from "./operating_system.ts";

/**
 * Returns the operating system that rcap runs on.
 *
 * @throws CapabilityError if rcap does not support it.
 * @throws UsageError if the environment names a platform that does not exist.
 */
export function operatingSystem(): OperatingSystem {
  return systemOf(Deno.build.os);
}

/**
 * Returns the operating system with a name.
 *
 * @throws CapabilityError, UsageError as {@linkcode operatingSystem}.
 */
export function systemOf(os: typeof Deno.build.os): OperatingSystem {
  switch (os) {
    case "illumos":
    case "solaris":
      return illumos(ILLUMOS_PATHS);
    case "linux":
      return chooseOnLinux();
  }
  throw new CapabilityError(
    `rcap works on Linux and illumos, not on ${os}`,
  );
}

function chooseOnLinux(): OperatingSystem {
  const name = variable("platform");
  if (name === undefined || name === "linux") return linux;
  if (name !== "illumos") {
    throw new UsageError(
      `${VARIABLES.platform}: "${name}" is not a platform`,
      "choose linux or illumos",
    );
  }
  if (isSecureExecution()) {
    throw new CapabilityError(
      `${VARIABLES.platform} names libraries to load, which is not allowed for a program that was started with privileges of its own`,
    );
  }
  return illumos({
    libc: required("libc"),
    libproc: required("libproc"),
    libsocket: required("libsocket"),
    proc: variable("proc") ?? ILLUMOS_PATHS.proc,
    projects: variable("projects") ?? ILLUMOS_PATHS.projects,
  });
}

/** The value of a variable; `undefined` if it is empty or not set. */
function variable(name: keyof typeof VARIABLES): string | undefined {
  return Deno.env.get(VARIABLES[name]) || undefined;
}

function required(name: "libc" | "libproc" | "libsocket"): string {
  const value = variable(name);
  if (value !== undefined) return value;
  throw new UsageError(
    `${VARIABLES.platform} is illumos and ${VARIABLES[name]} is not set`,
    "set it to the path of the library to use",
  );
}
