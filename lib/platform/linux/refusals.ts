/**
 * Why the kernel or a sandbox refuses a system call, and the remedy.
 *
 * @module
 */

import { readTextFileIfAny } from "../../../ffi/file.ts";
import { Errno } from "../../../ffi/libc.ts";
import { kernelRelease } from "../../../ffi/system.ts";
import { CapabilityError, type RcapError, SystemError } from "../../errors.ts";
import { isNested } from "./namespaces.ts";
import { ownStatus } from "./own_status.ts";
import { type Capability, lacking, USER_NAMESPACE } from "./privileges.ts";

/** A system call and its requirements. */
export interface SystemCall {
  readonly name: string;
  /** The first version of Linux that has it: its man page. */
  readonly since: readonly [major: number, minor: number];
  /** The capabilities that it requires in the initial user namespace. */
  readonly capabilities: readonly Capability[];
}

/** `Seccomp` of proc_pid_status(5): a filter is active. */
const SECCOMP_MODE_FILTER = "2";

/** Whether an error means that a call does not exist or is not permitted. */
export function isRefusal(errno: number): boolean {
  return errno === Errno.EPERM || errno === Errno.ENOSYS;
}

/**
 * Explains the error of a call that is refused to rcap for any process. Returns any
 * other error unchanged.
 *
 * @param error with the `errno` of the call.
 * @param also another possible cause, for people; added if the cause is not
 * certain.
 */
export function refusal(
  error: RcapError & { readonly errno: number },
  call: SystemCall,
  also?: string,
): RcapError {
  if (!isRefusal(error.errno)) return error;
  const { cause, isCertain, remedy } = error.errno === Errno.ENOSYS
    ? whyAbsent(call)
    : whyForbidden(call);
  return new CapabilityError(
    `${error.message}: ${cause}${also && !isCertain ? ` (${also})` : ""}`,
    { remedy, cause: error },
  );
}

/** Why a call is refused, as far as known. */
interface Reason {
  readonly cause: string;
  /** Whether no other cause is possible. */
  readonly isCertain?: boolean;
  readonly remedy: string;
}

/** The likely cause if a filter is active. */
const FILTER =
  "a system call filter (seccomp) is active here, which is the likely cause";

function allow(name: string): string {
  return `allow ${name} at the source of the filter: the seccomp profile of the container, or SystemCallFilter= of the systemd unit`;
}

function whyAbsent({ name, since }: SystemCall): Reason {
  const release = kernelRelease();
  const facts = `Linux has it since ${since.join(".")}, and this is ${release}`;
  if (isOlder(release, since)) {
    return {
      cause: facts,
      isCertain: true,
      remedy: `use Linux ${since.join(".")} or newer`,
    };
  }
  return isFiltered()
    ? { cause: `${facts}; ${FILTER}`, remedy: allow(name) }
    : {
      cause:
        `${facts}, and no system call filter is active: this kernel was built without it, or only emulates Linux`,
      remedy: "use a kernel that has it, as distributions' kernels do",
    };
}

function whyForbidden({ name, capabilities }: SystemCall): Reason {
  const names = lacking(capabilities);
  if (names.length > 0) {
    return {
      cause: `rcap is without ${names.join(" and ")}`,
      isCertain: true,
      remedy: "run as root, or with these capabilities",
    };
  }
  if (capabilities.length > 0 && isNested("user")) {
    return { ...USER_NAMESPACE, isCertain: true };
  }
  const held = capabilities.length > 0
    ? `rcap has ${capabilities.join(" and ")}`
    : `${name} needs no privileges`;
  if (isFiltered()) {
    return { cause: `${held}; ${FILTER}`, remedy: allow(name) };
  }
  return {
    cause:
      `${held}, and no system call filter is active; what refuses it is not known${securityModules()}`,
    remedy:
      "look in the kernel log and the audit log for what refused it, such as a security module",
  };
}

/** Whether a system call filter is active; `false` if that is unknown. */
function isFiltered(): boolean {
  try {
    return ownStatus("Seccomp") === SECCOMP_MODE_FILTER;
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return false;
  }
}

/**
 * Describes the active security modules, if the kernel shows them:
 * Documentation/admin-guide/LSM.
 */
function securityModules(): string {
  const names = readTextFileIfAny("/sys/kernel/security/lsm")?.trim();
  return names ? `; security modules: ${names}` : "";
}

function isOlder(
  release: string,
  [major, minor]: readonly [number, number],
): boolean {
  const [, first, second] = /^(\d+)\.(\d+)/.exec(release)?.map(Number) ?? [];
  return first < major || first === major && second < minor;
}
