/**
 * The permissions that rcap runs with, built or from source: foreign functions,
 * through which it does everything, but for the network, on which `run --metrics`
 * listens and nothing else does anything; and the environment variables that say
 * whether colours are wanted and where a service manager listens.
 *
 * @module
 */

import { NOTIFY_ENVIRONMENT } from "../lib/daemon/notify.ts";

const ENVIRONMENT = [
  "NO_COLOR",
  "FORCE_COLOR",
  "CLICOLOR_FORCE",
  ...NOTIFY_ENVIRONMENT,
];

export const PERMISSIONS = [
  "--no-prompt",
  "--allow-ffi",
  "--allow-net",
  `--allow-env=${ENVIRONMENT.join(",")}`,
];
