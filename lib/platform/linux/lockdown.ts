/**
 * Kernel lockdown, which may forbid BPF to read kernel memory: kernel_lockdown(7).
 *
 * @module
 */

import { readTextFileIfAny } from "../../../ffi/file.ts";

/** The mode that is on: `none`, `integrity` or `confidentiality`; `undefined` where there is no lockdown. */
export function lockdownMode(): string | undefined {
  const modes = readTextFileIfAny("/sys/kernel/security/lockdown") ?? "";
  return /\[(\w+)\]/.exec(modes)?.[1];
}
