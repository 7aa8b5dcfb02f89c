/**
 * The privileges that rcap has and needs: capabilities(7).
 *
 * @module
 */

import { effectiveUid } from "../../../ffi/system.ts";
import { CapabilityError } from "../../errors.ts";
import { isNested } from "./namespaces.ts";
import { ownStatus } from "./own_status.ts";

/** Capabilities by bit: include/uapi/linux/capability.h. */
const CAPABILITIES = {
  CAP_DAC_OVERRIDE: 1,
  CAP_SYS_PTRACE: 19,
  CAP_SYS_ADMIN: 21,
  CAP_SYS_NICE: 23,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
} as const;

/** The name of a capability. */
export type Capability = keyof typeof CAPABILITIES;

/** What scanning the processes of every user takes. */
export const SCAN_CAPABILITIES = [
  // Reads maps and smaps of those, and may advise on their memory.
  "CAP_SYS_PTRACE",
  // Advises: process_madvise(2).
  "CAP_SYS_NICE",
  // Opens clear_refs and pagemap of the processes of every user.
  "CAP_DAC_OVERRIDE",
] as const satisfies readonly Capability[];

/** What reading their page tables takes. */
export const PTE_CAPABILITIES = [
  // Loads the programs that read page tables.
  "CAP_BPF",
  // Lets those read kernel memory.
  "CAP_PERFMON",
] as const satisfies readonly Capability[];

/** All that the daemon needs. */
export const DAEMON_CAPABILITIES = [
  ...PTE_CAPABILITIES,
  ...SCAN_CAPABILITIES,
] as const;

/**
 * Which of some capabilities this process lacks: `CapEff` of proc_pid_status(5).
 *
 * @throws SystemError when that cannot be read.
 */
export function lacking(names: readonly Capability[]): Capability[] {
  const held = BigInt(`0x${ownStatus("CapEff") ?? "0"}`);
  const has = (name: Capability) =>
    (held >> BigInt(CAPABILITIES[name]) & 1n) !== 0n;
  return names.filter((name) =>
    // CAP_SYS_ADMIN stands for what was taken from it: capabilities(7).
    !has(name) && !(isForPte(name) && has("CAP_SYS_ADMIN"))
  );
}

function isForPte(name: Capability): boolean {
  return PTE_CAPABILITIES.some((other) => other === name);
}

/** Who rcap is, for messages. */
export function whoami(): string {
  const uid = effectiveUid();
  return uid === 0 ? "root" : `uid ${uid}`;
}

/**
 * What to do when access to a process is denied.
 *
 * @param takes the capabilities by which root has it.
 */
export function accessRemedy(takes: readonly Capability[]): string {
  if (isNested("user")) {
    return `${USER_NAMESPACE.cause}; ${USER_NAMESPACE.remedy}`;
  }
  const names = lacking(takes);
  return names.length === 0
    ? `rcap has ${
      takes.join(" and ")
    }, so a security module or a sandbox protects it even from root`
    : `run as root, or with ${names.join(", ")}`;
}

/** Why capabilities do not help in a user namespace, and what to do: user_namespaces(7). */
export const USER_NAMESPACE = {
  cause:
    "rcap runs in a user namespace, beyond which its privileges do not reach",
  remedy: "run it outside, as root of the machine",
} as const;

/** @throws CapabilityError when the processes of other users cannot be scanned. */
export function requireCapabilities(): void {
  if (isNested("user")) {
    // Not those inside either: mm/madvise.c asks for CAP_SYS_NICE in the first one.
    throw new CapabilityError(
      `${whoami()} here cannot page out any process: ${USER_NAMESPACE.cause}`,
      { remedy: USER_NAMESPACE.remedy },
    );
  }
  const names = lacking(SCAN_CAPABILITIES);
  if (names.length === 0) return;
  throw new CapabilityError(
    `${effectiveUid() === 0 ? "root here" : whoami()} is without ${
      names.join(", ")
    }, and so cannot scan the processes of others; run as root, or with these capabilities (rcap doctor tells more)`,
  );
}
