/**
 * The environment variables that choose the platform.
 *
 * @module
 */

/**
 * Environment variables with which tests on Linux run rcap as on illumos: the first
 * is `illumos`, the others are the paths of the libraries, the processes and the
 * projects.
 */
export const VARIABLES = {
  platform: "RCAP_PLATFORM",
  libc: "RCAP_ILLUMOS_LIBC",
  libproc: "RCAP_ILLUMOS_LIBPROC",
  libsocket: "RCAP_ILLUMOS_LIBSOCKET",
  proc: "RCAP_ILLUMOS_PROC",
  projects: "RCAP_ILLUMOS_PROJECTS",
} as const;

/** The names of these variables. */
export const PLATFORM_ENVIRONMENT: readonly string[] = Object.values(VARIABLES);

/** The environment variables that say what a terminal can show. */
export const TERMINAL_ENVIRONMENT: readonly string[] = [
  "TERM",
  "LC_ALL",
  "LC_CTYPE",
  "LANG",
];

/**
 * The environment variable with which tests and benchmarks have all times of a daemon
 * pass faster, those of its configuration, too: how many times as fast.
 */
export const HURRY = "RCAP_HURRY";
