/**
 * Why the kernel, or a sandbox before it, refuses a system call, and what to do.
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

/** A system call, and what it takes. */
export interface SystemCall {
  readonly name: string;
  /** The first version of Linux that has it: its man page. */
  readonly since: readonly [major: number, minor: number];
  /** What the kernel asks for, in the first user namespace. */
  readonly capabilities: readonly Capability[];
}

/** `Seccomp` of proc_pid_status(5): a filter is active. */
const SECCOMP_MODE_FILTER = "2";

/** Whether an error says that a call is not there, or not for us. */
export function isRefusal(errno: number): boolean {
  return errno === Errno.EPERM || errno === Errno.ENOSYS;
}

/**
 * The error of a call that was refused to rcap, whatever it is called for. Any
 * other error is returned as it is.
 *
 * @param error with the `errno` of the call.
 * @param also what else may be the cause, for a person; said where that is not certain.
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

/** Why a call is refused, as far as that is known. */
interface Reason {
  readonly cause: string;
  /** Whether it can be nothing else. */
  readonly isCertain?: boolean;
  readonly remedy: string;
}

/** The likely cause, said only where there is a filter. */
const FILTER =
  "a system call filter (seccomp) is active here, which is the likely cause";

function allow(name: string): string {
  return `allow ${name} where the filter comes from: the seccomp profile of the container, or SystemCallFilter= of the systemd unit`;
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
        `${facts}, and no system call filter is active: this kernel was built without it, or only poses as Linux`,
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
    : `${name} takes no privileges`;
  if (isFiltered()) {
    return { cause: `${held}; ${FILTER}`, remedy: allow(name) };
  }
  return {
    cause:
      `${held}, and no system call filter is active; what refuses it is not known${securityModules()}`,
    remedy:
      "look into the logs of the kernel and of audit for what refused it, a security module say",
  };
}

/** Whether a system call filter is active; `false` where that is not told. */
function isFiltered(): boolean {
  try {
    return ownStatus("Seccomp") === SECCOMP_MODE_FILTER;
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return false;
  }
}

/** The security modules that are active, where the kernel tells: Documentation/admin-guide/LSM. */
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
