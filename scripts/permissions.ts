/**
 * The permissions with which rcap runs, built or from source: foreign functions,
 * through which it does nearly everything; the network, which `run --metrics` uses, to
 * listen, and `kubernetes = true`, to watch pods; the directory of the sockets by which
 * commands ask a daemon for readings; and the environment variables that control colours,
 * say what a terminal can show, give the addresses of a service manager, of the
 * directory that it has made, and of the API server of Kubernetes and, for tests, name the
 * simulation of another operating system, and have time pass faster.
 *
 * @module
 */

import { KUBERNETES_ENVIRONMENT } from "../lib/kubernetes/api_server.ts";
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
  ...KUBERNETES_ENVIRONMENT,
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
