/**
 * The permissions that rcap runs with, built or from source: foreign functions,
 * through which it does everything, but for the network, on which `run --metrics`
 * listens and nothing else does anything; and the environment variables that say
 * whether colours are wanted, where a service manager listens, and, for tests, what
 * stands for another operating system.
 *
 * @module
 */

import { PLATFORM_ENVIRONMENT } from "../lib/platform/environment.ts";
import { NOTIFY_ENVIRONMENT } from "../lib/service/notify.ts";

const ENVIRONMENT = [
  "NO_COLOR",
  "FORCE_COLOR",
  "CLICOLOR_FORCE",
  ...NOTIFY_ENVIRONMENT,
  ...PLATFORM_ENVIRONMENT,
];

export const PERMISSIONS = [
  "--no-prompt",
  "--allow-ffi",
  "--allow-net",
  `--allow-env=${ENVIRONMENT.join(",")}`,
];
