/**
 * The errors that rcap throws on purpose, and the exit codes. The message of an error
 * says what a person needs to act, and its exit code is that of the command it ends.
 *
 * @module
 */

/** An exit code of rcap, as the shell has it in `$?`. */
export interface ExitCode {
  readonly code: number;
  /** What it means with any command, for help and documentation. */
  readonly meaning: string;
}

/**
 * Every exit code of rcap by its name. `--help` is made from this table;
 * docs/commands.md lists it, and a test fails where the two differ.
 */
export const EXIT_CODES = {
  done: { code: 0, meaning: "done" },
  failed: { code: 1, meaning: "failed; the message says why" },
  usage: {
    code: 2,
    meaning:
      "wrong usage (unknown option, bad size, bad selector), or an invalid configuration",
  },
  capNotMet: {
    code: 3,
    meaning: "finished, but a cap is not met, or would not be",
  },
  incapable: {
    code: 4,
    meaning:
      "a privilege or kernel feature is missing; the message says what to do",
  },
  noProcess: {
    code: 5,
    meaning: "no such process, or the selectors match none",
  },
  // A process that a signal ends has 128 and its number, as shells have it.
  SIGHUP: { code: 129, meaning: "ended by SIGHUP" },
  SIGINT: { code: 130, meaning: "ended by SIGINT" },
  SIGQUIT: { code: 131, meaning: "ended by SIGQUIT" },
  SIGTERM: { code: 143, meaning: "ended by SIGTERM" },
} as const satisfies Readonly<Record<string, ExitCode>>;

/** The name of an exit code. */
export type ExitCodeName = keyof typeof EXIT_CODES;

/**
 * Any error that rcap reports to the user. The exit code is 1 unless a subclass
 * overrides it. The message is one line, whatever it contains.
 */
export class RcapError extends Error {
  override name = "RcapError";
  /** The exit code a command ends with when this error ends it. */
  readonly exitCode: number = EXIT_CODES.failed.code;
  /** More lines below the message. */
  readonly details: readonly string[];

  constructor(
    message?: string,
    { details = [], ...options }: ErrorOptions & {
      details?: readonly string[];
    } = {},
  ) {
    super(message, options);
    this.details = details;
  }
}

/** The command line or a value on it is wrong. */
export class UsageError extends RcapError {
  override name = "UsageError";
  override readonly exitCode: number = EXIT_CODES.usage.code;
  /** What is wrong: the message without the remedy. */
  readonly problem: string;
  /** What to do about it, if the message says. */
  readonly remedy: string | undefined;

  /** @param details more lines below the message. */
  constructor(
    problem: string,
    remedy?: string,
    details: readonly string[] = [],
  ) {
    super(remedy === undefined ? problem : `${problem}; ${remedy}`, {
      details,
    });
    this.problem = problem;
    this.remedy = remedy;
  }
}

/** A privilege or a kernel feature is missing; the message names it and the remedy. */
export class CapabilityError extends RcapError {
  override name = "CapabilityError";
  override readonly exitCode = EXIT_CODES.incapable.code;
  /** What is missing: the message without the remedy, where that is known apart. */
  readonly problem: string;
  /** What to do about it, if given separately. */
  readonly remedy: string | undefined;

  constructor(
    problem: string,
    { remedy, cause }: { remedy?: string; cause?: unknown } = {},
  ) {
    super(remedy === undefined ? problem : `${problem}; ${remedy}`, { cause });
    this.problem = problem;
    this.remedy = remedy;
  }
}

/** An operation on one process failed; others may still succeed. */
export class ProcessError extends RcapError {
  override name = "ProcessError";
  /** The process id. */
  readonly pid: number;

  constructor(pid: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.pid = pid;
  }
}

/** The process does not exist or has exited. */
export class NoSuchProcess extends ProcessError {
  override name = "NoSuchProcess";
  override readonly exitCode = EXIT_CODES.noProcess.code;
}

/** The process exists, but this user may not read it or page it out. */
export class ProcessAccessDenied extends ProcessError {
  override name = "ProcessAccessDenied";
  override readonly exitCode = EXIT_CODES.incapable.code;
}

/**
 * A fact about a process cannot be determined at the moment. This is not an answer:
 * what was last known of the process still applies.
 */
export class NotKnown extends ProcessError {
  override name = "NotKnown";
}

/** The selectors match no process that rcap may page out. */
export class NoMatch extends RcapError {
  override name = "NoMatch";
  override readonly exitCode = EXIT_CODES.noProcess.code;
}

/** What is thrown, in words: the message of an error. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A system call, or a call of the C library, failed. */
export class SystemError extends RcapError {
  override name = "SystemError";
  /** The error number, as the operating system counts them. */
  readonly errno: number;
  /** What the error number means, in the system's words. */
  readonly words: string;

  /** @param call the call that failed and on what, for a person. */
  constructor(call: string, errno: number, words: string) {
    super(`${call}: ${words}`);
    this.errno = errno;
    this.words = words;
  }
}

/**
 * Error numbers that are the same on Linux and illumos: `asm-generic/errno-base.h` of
 * Linux, `<sys/errno.h>` of illumos.
 */
export const CommonErrno = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EEXIST: 17,
  EXDEV: 18,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  ENOSPC: 28,
  EROFS: 30,
  ERANGE: 34,
} as const;

/** Whether an error says that a file or process does not exist. */
export function isMissing(error: unknown): boolean {
  return isOneOf(error, [CommonErrno.ENOENT, CommonErrno.ESRCH]);
}

/** Whether an error says that access is denied. */
export function isDenied(error: unknown): boolean {
  return isOneOf(error, [CommonErrno.EACCES, CommonErrno.EPERM]);
}

/**
 * Whether an error, or its cause, says that there is no free descriptor or no memory.
 * Such an error says nothing about what was asked for.
 */
export function isExhausted(error: unknown): boolean {
  return isOneOf(error, [
    CommonErrno.EMFILE,
    CommonErrno.ENFILE,
    CommonErrno.ENOMEM,
  ]) ||
    error instanceof Error && isExhausted(error.cause);
}

function isOneOf(error: unknown, numbers: readonly number[]): boolean {
  // Errors of BPF have an errno, too.
  return error instanceof RcapError && "errno" in error &&
    numbers.some((number) => number === error.errno);
}
