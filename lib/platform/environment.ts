/**
 * The environment variables that the choice of the platform depends on.
 *
 * @module
 */

/**
 * Environment variables by which tests on Linux run rcap as on illumos: `illumos`
 * in the first, and where the libraries, the processes and the projects are.
 */
export const VARIABLES = {
  platform: "RCAP_PLATFORM",
  libc: "RCAP_ILLUMOS_LIBC",
  libproc: "RCAP_ILLUMOS_LIBPROC",
  libsocket: "RCAP_ILLUMOS_LIBSOCKET",
  proc: "RCAP_ILLUMOS_PROC",
  projects: "RCAP_ILLUMOS_PROJECTS",
} as const;

/** The environment variables that the choice depends on. */
export const PLATFORM_ENVIRONMENT: readonly string[] = Object.values(VARIABLES);
