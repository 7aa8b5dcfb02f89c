/**
 * Errors of system calls about a process, as errors of that process.
 *
 * @module
 */

import {
  isDenied,
  isMissing,
  NoSuchProcess,
  ProcessAccessDenied,
  ProcessError,
  SystemError,
} from "../errors.ts";

/** Returns the error of a process that has exited. */
export function exited(pid: number, options?: ErrorOptions): NoSuchProcess {
  return new NoSuchProcess(pid, `process ${pid} has exited`, options);
}

/** Returns the error of a process that has exited, and whose pid another process has. */
export function replacedPid(pid: number): NoSuchProcess {
  return new NoSuchProcess(
    pid,
    `process ${pid} has exited; another process now has its pid`,
  );
}

/** Returns the error of a process whose address space is not the observed one. */
export function replaced(pid: number): ProcessError {
  return new ProcessError(
    pid,
    `process ${pid} has started another program (exec); its memory is not the one that was observed`,
  );
}

/** Returns the error of a process that nothing can be paged out of. */
export function mainThreadExited({ pid }: { pid: number }): ProcessError {
  return new ProcessError(
    pid,
    `process ${pid}: its main thread has exited while others run; the kernel answers ESRCH, so it cannot be paged out`,
  );
}

/**
 * What a failed system call means for a process. Any other error is returned as it is.
 *
 * @param accessRemedy what to do when access is denied.
 */
export function processErrorOf(
  pid: number,
  error: unknown,
  accessRemedy: () => string,
): unknown {
  if (!(error instanceof SystemError)) return error;
  if (isMissing(error)) return exited(pid, { cause: error });
  if (isDenied(error)) {
    return new ProcessAccessDenied(
      pid,
      `process ${pid}: access denied (${error.message}); ${accessRemedy()}`,
      { cause: error },
    );
  }
  return new ProcessError(pid, `process ${pid}: ${error.message}`, {
    cause: error,
  });
}
