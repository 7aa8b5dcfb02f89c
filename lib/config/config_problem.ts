/**
 * What is wrong with a configuration: told all at once, each with its place.
 *
 * @module
 */

import { EXIT_CODES, UsageError } from "../errors.ts";
import { escapeLine } from "../report/escape.ts";

/** Something that is wrong, and where. */
export interface ConfigProblem {
  readonly file: string;
  /** From 1; 0 for the file as a whole. */
  readonly line: number;
  readonly message: string;
  /** What to do about it, where there is more to say than the message does. */
  readonly suggestion: string | null;
}

/** A problem, as it is found. */
export interface FoundProblem extends ConfigProblem {
  /** Whether it says nothing of the configuration, which is only not known for the moment. */
  readonly isPassing?: boolean;
}

/** The configuration is not valid; its problems stand below the message, a line each. */
export class ConfigError extends UsageError {
  override name = "ConfigError";
  override readonly exitCode: number;
  readonly problems: readonly ConfigProblem[];

  /** @param isPassing whether it may be valid, and is only not known to be for the moment. */
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

/** A problem in a line: `FILE:LINE: message; suggestion`. */
export function describeProblem(
  { file, line, message, suggestion }: ConfigProblem,
): string {
  const place = line === 0 ? file : placeOf(file, line);
  const remedy = suggestion === null ? "" : `; ${suggestion}`;
  return escapeLine(`${place}: ${message}${remedy}`);
}

/** A place, as messages have it: `FILE:LINE`. */
export function placeOf(file: string, line: number): string {
  return `${file}:${line}`;
}
