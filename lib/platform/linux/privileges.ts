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

/** The capabilities for scanning the processes of every user. */
export const SCAN_CAPABILITIES = [
  // Permits reading their maps and smaps, and advising on their memory.
  "CAP_SYS_PTRACE",
  // Permits process_madvise(2).
  "CAP_SYS_NICE",
  // Permits opening their clear_refs and pagemap.
  "CAP_DAC_OVERRIDE",
] as const satisfies readonly Capability[];

/** The capabilities for reading page tables. */
export const PTE_CAPABILITIES = [
  // Permits loading the programs that read page tables.
  "CAP_BPF",
  // Permits these programs to read kernel memory.
  "CAP_PERFMON",
] as const satisfies readonly Capability[];

/** All capabilities that the daemon needs. */
export const DAEMON_CAPABILITIES = [
  ...PTE_CAPABILITIES,
  ...SCAN_CAPABILITIES,
] as const;

/**
 * Returns those of some capabilities that this process lacks: `CapEff` of
 * proc_pid_status(5).
 *
 * @throws SystemError if that cannot be read.
 */
export function lacking(names: readonly Capability[]): Capability[] {
  const held = BigInt(`0x${ownStatus("CapEff") ?? "0"}`);
  const has = (name: Capability) =>
    (held >> BigInt(CAPABILITIES[name]) & 1n) !== 0n;
  return names.filter((name) =>
    // CAP_SYS_ADMIN includes the capabilities split off from it: capabilities(7).
    !has(name) && !(isForPte(name) && has("CAP_SYS_ADMIN"))
  );
}

function isForPte(name: Capability): boolean {
  return PTE_CAPABILITIES.some((other) => other === name);
}

/** The user that rcap runs as, for messages. */
export function whoami(): string {
  const uid = effectiveUid();
  return uid === 0 ? "root" : `uid ${uid}`;
}

/**
 * Returns what to do if access to a process is denied.
 *
 * @param takes the capabilities that access requires.
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

/** @throws CapabilityError if the processes of other users cannot be scanned. */
export function requireCapabilities(): void {
  if (isNested("user")) {
    // Not even those inside it: mm/madvise.c requires CAP_SYS_NICE in the initial one.
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
    }, so it cannot scan the processes of others; run as root, or with these capabilities (rcap doctor tells more)`,
  );
}
