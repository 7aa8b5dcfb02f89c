/**
 * The permissions that rcap runs with, built or from source: foreign functions,
 * through which it does everything, and the environment variables that say
 * whether colours are wanted.
 *
 * @module
 */

export const PERMISSIONS = [
  "--no-prompt",
  "--allow-ffi",
  "--allow-env=NO_COLOR,FORCE_COLOR,CLICOLOR_FORCE",
];
