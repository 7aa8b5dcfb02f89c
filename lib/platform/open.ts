/**
 * The choice of the platform by the operating system that rcap runs on.
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
 * The operating system that rcap runs on.
 *
 * @throws CapabilityError when it is none that rcap knows.
 * @throws UsageError when the environment names none that can be tested here.
 */
export function operatingSystem(): OperatingSystem {
  return systemOf(Deno.build.os);
}

/**
 * What rcap knows an operating system by.
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
      "there are linux and illumos",
    );
  }
  if (isSecureExecution()) {
    throw new CapabilityError(
      `${VARIABLES.platform} names libraries to load, which whoever starts a program with privileges of its own may not do`,
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

/** What a variable says; `undefined` when it says nothing. */
function variable(name: keyof typeof VARIABLES): string | undefined {
  return Deno.env.get(VARIABLES[name]) || undefined;
}

function required(name: "libc" | "libproc" | "libsocket"): string {
  const value = variable(name);
  if (value !== undefined) return value;
  throw new UsageError(
    `${VARIABLES.platform} is illumos and ${VARIABLES[name]} is not set`,
    "name the library that stands for it",
  );
}
