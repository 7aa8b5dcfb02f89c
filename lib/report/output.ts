/**
 * Writing to standard output and standard error.
 *
 * @module
 */

import { RcapError } from "../errors.ts";

const encoder = new TextEncoder();

/**
 * Writes a text to standard output. When nobody reads it any more, it is dropped.
 *
 * @throws RcapError when it cannot be written, to a full disk say.
 */
export function print(text: string): void {
  try {
    write(Deno.stdout, text);
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return;
    const reason = error instanceof Error ? error.message : String(error);
    throw new RcapError(`cannot write to standard output: ${reason}`, {
      cause: error,
    });
  }
}

/**
 * Writes a text to standard error. What cannot be written is dropped: there is
 * nowhere left to say so, and it is no reason to end what is being done.
 */
export function printError(text: string): void {
  try {
    write(Deno.stderr, text);
  } catch {
    // See above.
  }
}

function write(
  to: { writeSync(bytes: Uint8Array): number },
  text: string,
): void {
  const bytes = encoder.encode(text);
  for (let at = 0; at < bytes.length;) {
    at += to.writeSync(bytes.subarray(at));
  }
}

/** How important a message is. */
export const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;
export type LogLevel = typeof LOG_LEVELS[number];

/** Writes messages to standard error, a line each, down to a level. */
export class Log {
  readonly #level: number;

  constructor(level: LogLevel) {
    this.#level = LOG_LEVELS.indexOf(level);
  }

  warn(message: string): void {
    this.#write("warn", `warning: ${message}`);
  }

  info(message: string): void {
    this.#write("info", message);
  }

  debug(message: string): void {
    this.#write("debug", message);
  }

  #write(level: LogLevel, message: string): void {
    if (LOG_LEVELS.indexOf(level) > this.#level) return;
    printError(`rcap: ${escapeControls(message)}\n`);
  }
}

/** A text with its control characters written as escapes, so that it stays on its line. */
export function escapeControls(text: string): string {
  // deno-lint-ignore no-control-regex -- control characters are what it is for
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, (character) => {
    if (character === "\n") return "\\n";
    if (character === "\t") return "\\t";
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}

/** Shows what goes on, on a terminal, until disposed. */
export function progress(text: string): Disposable {
  const isShown = Deno.stderr.isTerminal();
  if (isShown) printError(`${text}\r`);
  return {
    [Symbol.dispose]() {
      if (isShown) printError(`${" ".repeat(text.length)}\r`);
    },
  };
}
