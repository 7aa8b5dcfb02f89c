/**
 * Other processes of rcap: whether one still runs, and signals to exactly that one.
 *
 * @module
 */

import { File } from "../../../ffi/file.ts";
import { Pidfd, SIGHUP, SIGUSR1 } from "../../../ffi/pidfd.ts";
import { CommonErrno, ProcessError, SystemError } from "../../errors.ts";
import type { DaemonSignal, HeldProcess } from "../operating_system.ts";
import type { ProcessId } from "../platform.ts";
import { replacedPid } from "../process_errors.ts";
import { ofProcess } from "./proc_dir.ts";
import { readProcess } from "./process_list.ts";
import { openPidfd } from "./system_calls.ts";

const SIGNALS: Readonly<Record<DaemonSignal, number>> = { SIGHUP, SIGUSR1 };

/** The pid namespace of this process: pid_namespaces(7). `null` where `/proc` does not say. */
export function ownPidNamespace(): string | null {
  try {
    using namespaces = File.openPlace("/proc/self/ns");
    return namespaces.readLinkAt("pid");
  } catch (error) {
    if (error instanceof SystemError) return null;
    throw error;
  }
}

/** Whether a process of this pid namespace still runs; `unknown` where it is hidden. */
export function fateOf(
  { pid, startTime }: ProcessId,
): "runs" | "ended" | "unknown" {
  try {
    using _ = Pidfd.open(pid);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    if (error.errno === CommonErrno.ESRCH) return "ended";
  }
  try {
    const found = readProcess(pid);
    return found.startTime === startTime && !found.isZombie ? "runs" : "ended";
  } catch (error) {
    // Where /proc hides other users' processes: hidepid= of proc(5).
    if (error instanceof ProcessError) return "unknown";
    throw error;
  }
}

/**
 * Holds exactly one process. `/proc` has to be that of our own pid namespace.
 *
 * @throws NoSuchProcess when it has ended.
 * @throws CapabilityError when process descriptors are refused.
 */
export function holdProcess({ pid, startTime }: ProcessId): HeldProcess {
  return ofProcess(pid, () => {
    using cleanup = new DisposableStack();
    const pidfd = cleanup.use(openPidfd(pid));
    // The descriptor is of the process that has the pid now, and still has it below.
    if (readProcess(pid).startTime !== startTime) throw replacedPid(pid);
    cleanup.move();
    return {
      signal: (name) => ofProcess(pid, () => pidfd.signal(SIGNALS[name])),
      [Symbol.dispose]: () => pidfd[Symbol.dispose](),
    };
  });
}
