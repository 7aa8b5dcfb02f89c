/**
 * Writing to standard output and standard error. Nothing else writes there.
 *
 * The writes are made on another thread. What is printed is waited for; messages
 * are not: they queue, and the program goes on.
 *
 * @module
 */

import { Stream } from "../../ffi/stream.ts";
import { messageOf, RcapError } from "../errors.ts";
import { escapeLine, json, lines, type Printable } from "../report/escape.ts";
import { type DescribeLoss, LineQueue } from "./line_queue.ts";

const standardOutput = new Stream(1);
const standardError = new Stream(2);
const messages = new LineQueue((bytes) => standardError.write(bytes));

/** How long messages are waited for before something is printed, in milliseconds. */
const ORDER_MS = 100;

const encoder = new TextEncoder();

/**
 * Writes texts to standard output, after the messages that were logged before.
 * When nobody reads it any more, they are dropped.
 *
 * @param signal ends the wait for a reader that does not read.
 * @returns whether somebody reads it.
 * @throws RcapError when it cannot be written, to a full disk say.
 * @throws the signal's reason once it is aborted.
 */
export async function print(
  texts: readonly Printable[],
  signal: AbortSignal,
): Promise<boolean> {
  await messages.flush(ORDER_MS);
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort);
  const written = standardOutput.write(encoder.encode(texts.join("")))
    .catch((error) => {
      const reason = messageOf(error);
      throw new RcapError(`cannot write to standard output: ${reason}`, {
        cause: error,
      });
    });
  try {
    return await Promise.race([written, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** Whether standard output is a terminal. */
export function isTerminal(): boolean {
  return standardOutput.isTerminal();
}

/**
 * Writes lines to standard error, after all messages that were logged before. What
 * cannot be written is dropped: there is nowhere left to say so, and it is no
 * reason to end what is being done.
 */
export function printError(...texts: string[]): void {
  messages.add(lines(...texts));
}

/** Waits until standard error has taken all messages, for so many milliseconds at most. */
export async function flushMessages(milliseconds: number): Promise<void> {
  await messages.flush(milliseconds);
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
  /** Takes the lines, and how to tell of those that it drops; standard error by default. */
  readonly write?: (line: string, describeLoss: DescribeLoss) => void;
}

/**
 * Writes messages to standard error, a line each, down to a level. Nobody waits for
 * that: where standard error is not read, messages are dropped, and counted.
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
  readonly #write: NonNullable<LogOptions["write"]>;

  constructor(
    level: LogLevel,
    { format = "text", fields = {}, write = writeMessage }: LogOptions = {},
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
      this.#line(level, message, fields),
      ({ lines, seconds }) =>
        this.#line(
          "warn",
          `${lines} ${
            lines === 1 ? "message was" : "messages were"
          } dropped: ` +
            `standard error took none, or too few, for ${seconds.toFixed(1)} s`,
        ),
    );
  }

  #line(level: LogLevel, message: string, fields?: LogFields): string {
    if (this.#format === "text") {
      return lines(`rcap: ${TEXT_PREFIXES[level]}${message}`);
    }
    // Its own fields have those names for good.
    const own = { time: new Date().toISOString(), level, message };
    return json({ ...own, ...this.#fields, ...fields, ...own });
  }
}

const TEXT_PREFIXES: Readonly<Record<LogLevel, string>> = {
  error: "error: ",
  warn: "warning: ",
  info: "",
  debug: "",
};

function writeMessage(line: string, describeLoss: DescribeLoss): void {
  messages.add(line, describeLoss);
}

/** Shows what goes on, on a terminal, until disposed. */
export function progress(text: string): Disposable {
  const isShown = standardError.isTerminal();
  const shown = escapeLine(text);
  if (isShown) messages.add(`${shown}\r`);
  return {
    [Symbol.dispose]() {
      if (isShown) messages.add(`${" ".repeat(shown.length)}\r`);
    },
  };
}
