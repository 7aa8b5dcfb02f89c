/**
 * The privileges that rcap has and needs: capabilities(7).
 *
 * @module
 */

import { readTextFile } from "../../../ffi/file.ts";
import { effectiveUid } from "../../../ffi/system.ts";
import { CapabilityError } from "../../errors.ts";

/** Capabilities by bit: include/uapi/linux/capability.h. */
const CAPABILITIES = {
  CAP_DAC_OVERRIDE: 1,
  CAP_SYS_PTRACE: 19,
  CAP_SYS_NICE: 23,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
} as const;

/** The name of a capability. */
export type Capability = keyof typeof CAPABILITIES;

/** What scanning the processes of every user takes. */
export const SCAN_CAPABILITIES: readonly Capability[] = [
  "CAP_SYS_PTRACE",
  "CAP_SYS_NICE",
  "CAP_DAC_OVERRIDE",
];

/** What reading their page tables takes. */
export const PTE_CAPABILITIES: readonly Capability[] = [
  "CAP_BPF",
  "CAP_PERFMON",
];

/** Which of some capabilities this process lacks: `CapEff` of proc_pid_status(5). */
export function lacking(names: readonly Capability[]): Capability[] {
  const held = /^CapEff:\s*([0-9a-f]+)$/m.exec(
    readTextFile("/proc/self/status"),
  )?.[1] ?? "0";
  return names.filter((name) =>
    !(BigInt(`0x${held}`) >> BigInt(CAPABILITIES[name]) & 1n)
  );
}

/** @throws CapabilityError when the processes of other users cannot be scanned. */
export function requirePrivileges(): void {
  const names = lacking(SCAN_CAPABILITIES);
  if (names.length === 0) return;
  throw new CapabilityError(
    `${
      effectiveUid() === 0 ? "root here" : `uid ${effectiveUid()}`
    } is without ${
      names.join(", ")
    }, and so cannot scan the processes of others; run as root, or with these capabilities (rcap doctor tells more)`,
  );
}
