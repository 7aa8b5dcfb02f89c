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
 * @returns whether somebody reads it.
 * @throws RcapError when it cannot be written, to a full disk say.
 */
export function print(text: string): boolean {
  try {
    write(Deno.stdout, text);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return false;
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

/** In which form messages are written: for people, or an object of JSON each. */
export const LOG_FORMATS = ["text", "json"] as const;
export type LogFormat = typeof LOG_FORMATS[number];

/**
 * What a message says in words, once more for programs: names in camelCase, sizes
 * in bytes, times in seconds.
 */
export type LogFields = Readonly<
  Record<string, string | number | boolean | null>
>;

/** How a log is written; each has a default. */
export interface LogOptions {
  readonly format?: LogFormat;
  /** Fields of every message. */
  readonly fields?: LogFields;
  /** Takes the lines; standard error by default. */
  readonly write?: (line: string) => void;
}

/**
 * Writes messages to standard error, a line each, down to a level.
 *
 * @example
 * ```ts
 * const log = new Log("info", { format: "json" });
 * log.warn("browsers: the cap cannot be met", { collection: "browsers" });
 * ```
 */
export class Log {
  readonly #level: LogLevel;
  readonly #format: LogFormat;
  readonly #fields: LogFields;
  readonly #write: (line: string) => void;

  constructor(
    level: LogLevel,
    { format = "text", fields = {}, write = printError }: LogOptions = {},
  ) {
    this.#level = level;
    this.#format = format;
    this.#fields = fields;
    this.#write = write;
  }

  /** The same log, with fields that every message has. */
  with(fields: LogFields): Log {
    return new Log(this.#level, {
      format: this.#format,
      fields: { ...this.#fields, ...fields },
      write: this.#write,
    });
  }

  /** Whether messages of a level are written. */
  has(level: LogLevel): boolean {
    return LOG_LEVELS.indexOf(level) <= LOG_LEVELS.indexOf(this.#level);
  }

  error(message: string, fields?: LogFields): void {
    this.#log("error", message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.#log("warn", message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.#log("info", message, fields);
  }

  debug(message: string, fields?: LogFields): void {
    this.#log("debug", message, fields);
  }

  #log(level: LogLevel, message: string, fields?: LogFields): void {
    if (!this.has(level)) return;
    this.#write(
      this.#format === "json"
        ? jsonLine(level, message, { ...this.#fields, ...fields })
        : `rcap: ${TEXT_PREFIXES[level]}${escapeControls(message)}\n`,
    );
  }
}

const TEXT_PREFIXES: Readonly<Record<LogLevel, string>> = {
  error: "error: ",
  warn: "warning: ",
  info: "",
  debug: "",
};

/** A message as an object on a line. Its own fields have those names for good. */
function jsonLine(level: LogLevel, message: string, fields: LogFields): string {
  const own = { time: new Date().toISOString(), level, message };
  const text = JSON.stringify({ ...own, ...fields, ...own });
  // JSON allows these, and terminals and some readers of lines act on them.
  return text.replace(
    /[\x7f-\x9f\u2028\u2029]/g,
    (character) =>
      `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  ) + "\n";
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
