/**
 * `--learnt-dir`: where a daemon keeps the idle times that it has found.
 *
 * @module
 */

import { Option } from "@commander-js/extra-typings";
import {
  LEARNT_DIRECTORY,
  learntDirectory,
} from "../lib/service/learnt_file.ts";

/** The option. */
export function learntDirectoryOption() {
  return new Option(
    "--learnt-dir <directory>",
    'where the idle times that idle = "auto" has found are kept',
  ).default(LEARNT_DIRECTORY);
}

/** The directory that it names, or by default that of the service manager. */
export function learntDirectoryOf({ learntDir }: { learntDir: string }) {
  return learntDir === LEARNT_DIRECTORY ? learntDirectory() : learntDir;
}
