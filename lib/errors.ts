/**
 * The errors that rcap throws on purpose. Each says what a person needs to act;
 * `main.ts` maps them to exit codes.
 *
 * @module
 */

/**
 * Any error that rcap reports in words. Exit code 1 unless a subclass says otherwise.
 * The message is one line, whatever stands in it.
 */
export class RcapError extends Error {
  override name = "RcapError";
  /** The exit code a command ends with when this error ends it. */
  readonly exitCode: number = 1;
  /** More lines below the message. */
  readonly details: readonly string[] = [];
}

/** The command line or a value on it is wrong. */
export class UsageError extends RcapError {
  override name = "UsageError";
  override readonly exitCode: number = 2;
  /** What is wrong: the message without the remedy. */
  readonly problem: string;
  /** What to do about it, where the message says. */
  readonly remedy: string | undefined;
  override readonly details: readonly string[];

  /** @param details more lines below the message. */
  constructor(
    problem: string,
    remedy?: string,
    details: readonly string[] = [],
  ) {
    super(remedy === undefined ? problem : `${problem}; ${remedy}`);
    this.problem = problem;
    this.remedy = remedy;
    this.details = details;
  }
}

/** A privilege or a kernel feature is missing; the message names it and the remedy. */
export class CapabilityError extends RcapError {
  override name = "CapabilityError";
  override readonly exitCode = 4;
  /** What is missing: the message without the remedy, where that is known apart. */
  readonly problem: string;
  /** What to do about it, where that is known apart. */
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

/** What was asked for cannot be done with one process; others may still be fine. */
export class ProcessError extends RcapError {
  override name = "ProcessError";
  /** The process id. */
  readonly pid: number;

  constructor(pid: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.pid = pid;
  }
}

/** The process does not exist, or no longer does. */
export class NoSuchProcess extends ProcessError {
  override name = "NoSuchProcess";
  override readonly exitCode = 5;
}

/** The process exists and this user may not look at it or page it out. */
export class ProcessAccessDenied extends ProcessError {
  override name = "ProcessAccessDenied";
  override readonly exitCode = 4;
}

/**
 * What was asked of a process cannot be found out for the moment. It is no answer:
 * what was last known of the process holds on.
 */
export class NotKnown extends ProcessError {
  override name = "NotKnown";
}

/** The selectors match no process that rcap may work on. */
export class NoMatch extends RcapError {
  override name = "NoMatch";
  override readonly exitCode = 5;
}
