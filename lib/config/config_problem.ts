/**
 * The problems of a configuration, reported together, each with its place.
 *
 * @module
 */

import { EXIT_CODES, UsageError } from "../errors.ts";
import { escapeLine } from "../report/escape.ts";

/** A problem and its place. */
export interface ConfigProblem {
  readonly file: string;
  /** The line, from 1; 0 for the file as a whole. */
  readonly line: number;
  readonly message: string;
  /** The remedy, if the message does not imply it. */
  readonly suggestion: string | null;
}

/** A problem, as found. */
export interface FoundProblem extends ConfigProblem {
  /**
   * Whether it is temporary: the configuration may be valid, but cannot be checked
   * at the moment.
   */
  readonly isPassing?: boolean;
}

/** The configuration is not valid; its problems follow the message, a line each. */
export class ConfigError extends UsageError {
  override name = "ConfigError";
  override readonly exitCode: number;
  readonly problems: readonly ConfigProblem[];

  /** @param isPassing whether all problems are temporary, so that it may be valid. */
  constructor(problems: readonly ConfigProblem[], isPassing = false) {
    const count = problems.length === 1
      ? "one problem"
      : `${problems.length} problems`;
    super(
      `the configuration has ${count}:`,
      undefined,
      problems.map(describeProblem),
    );
    this.problems = problems;
    this.exitCode = EXIT_CODES[isPassing ? "failed" : "usage"].code;
  }
}

/** Formats a problem as a line: `FILE:LINE: message; suggestion`. */
export function describeProblem(
  { file, line, message, suggestion }: ConfigProblem,
): string {
  const place = line === 0 ? file : placeOf(file, line);
  const remedy = suggestion === null ? "" : `; ${suggestion}`;
  return escapeLine(`${place}: ${message}${remedy}`);
}

/** Formats a place for messages: `FILE:LINE`. */
export function placeOf(file: string, line: number): string {
  return `${file}:${line}`;
}
