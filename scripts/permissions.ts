/**
 * The permissions with which rcap runs, built or from source: foreign functions,
 * through which it does nearly everything; the network, which only `run --metrics`
 * uses, to listen; the directory of the sockets by which commands ask a daemon for
 * readings; and the environment variables that control colours, say what a
 * terminal can show, give the address of a service manager and the directory that
 * it has made and, for tests, name the simulation of another operating system, and
 * have time pass faster.
 *
 * @module
 */

import {
  HURRY,
  PLATFORM_ENVIRONMENT,
  TERMINAL_ENVIRONMENT,
} from "../lib/platform/environment.ts";
import { OBSERVERS } from "../lib/platform/observers_directory.ts";
import { LEARNT_ENVIRONMENT } from "../lib/service/learnt_file.ts";
import { NOTIFY_ENVIRONMENT } from "../lib/service/notify.ts";

const ENVIRONMENT = [
  "NO_COLOR",
  "FORCE_COLOR",
  "CLICOLOR_FORCE",
  ...NOTIFY_ENVIRONMENT,
  ...LEARNT_ENVIRONMENT,
  ...PLATFORM_ENVIRONMENT,
  ...TERMINAL_ENVIRONMENT,
  HURRY,
];

export const PERMISSIONS = [
  "--no-prompt",
  "--allow-ffi",
  "--allow-net",
  `--allow-read=${OBSERVERS}`,
  `--allow-write=${OBSERVERS}`,
  `--allow-env=${ENVIRONMENT.join(",")}`,
];
