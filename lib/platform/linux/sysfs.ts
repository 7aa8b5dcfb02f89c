/**
 * Whether the kernel can be asked by files in `/sys`: sysfs(5).
 *
 * @module
 */

import { isMissing, SystemError } from "../../errors.ts";
import { fileSystemOf, SYSFS_MAGIC } from "../../../ffi/file_system.ts";

/** Whether sysfs is mounted at `/sys`, as far as that can be told. */
export function isSysMounted(): boolean {
  try {
    return fileSystemOf("/sys").type === SYSFS_MAGIC;
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return !isMissing(error);
  }
}
