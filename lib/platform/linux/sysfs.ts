/**
 * Whether the kernel's files in `/sys` are available: sysfs(5).
 *
 * @module
 */

import { isMissing, SystemError } from "../../errors.ts";
import { fileSystemOf, SYSFS_MAGIC } from "../../../ffi/file_system.ts";

/** Whether sysfs is mounted at `/sys`; `true` if that is unknown. */
export function isSysMounted(): boolean {
  try {
    return fileSystemOf("/sys").type === SYSFS_MAGIC;
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return !isMissing(error);
  }
}
