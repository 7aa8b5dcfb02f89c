/**
 * Why BPF cannot read kernel memory, and the remedy.
 *
 * @module
 */

import type { BpfError } from "../../../ffi/bpf.ts";
import { readTextFileIfAny } from "../../../ffi/file.ts";
import { CapabilityError, type RcapError } from "../../errors.ts";
import { PTE_CAPABILITIES } from "./privileges.ts";
import { isRefusal, refusal, type SystemCall } from "./refusals.ts";

/** bpf(2), to read kernel memory. */
const BPF: SystemCall = {
  name: "bpf",
  since: [3, 18],
  capabilities: PTE_CAPABILITIES,
};

/** Returns the error of a refused `bpf` call, with cause and remedy. */
export function bpfRefusal(error: BpfError): RcapError {
  const lockdown = lockdownMode();
  if (lockdown === "confidentiality") {
    return new CapabilityError(
      `kernel lockdown (confidentiality) forbids BPF to read kernel memory (${error.message})`,
      { remedy: "boot the machine without it", cause: error },
    );
  }
  if (!isRefusal(error.errno)) {
    return new CapabilityError(error.message, { cause: error });
  }
  const also = `kernel lockdown: ${lockdown ?? "not shown here"}`;
  return refusal(error, BPF, also);
}

/**
 * Returns the active mode of kernel lockdown, which may forbid BPF to read kernel
 * memory: `none`, `integrity` or `confidentiality`; `undefined` where securityfs
 * does not show it. See kernel_lockdown(7).
 */
export function lockdownMode(): string | undefined {
  const modes = readTextFileIfAny("/sys/kernel/security/lockdown") ?? "";
  return /\[(\w+)\]/.exec(modes)?.[1];
}
