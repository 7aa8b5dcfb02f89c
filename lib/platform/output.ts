/**
 * Writes to standard output and standard error. Nothing else writes there.
 *
 * The writes run on another thread. The program waits for printed output, but not
 * for messages, which are queued.
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

/** How long printing waits for earlier messages, in milliseconds. */
const ORDER_MS = 100;

const encoder = new TextEncoder();

/**
 * Writes texts to standard output, after the messages that were logged before. If
 * the reader has gone, they are dropped.
 *
 * @param signal ends the wait for a slow reader.
 * @returns Whether there is a reader.
 * @throws RcapError if writing fails, for example on a full disk.
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
 * Writes lines to standard error, after all messages that were logged before. Lines
 * that cannot be written are dropped: there is nowhere left to report it, and it is
 * no reason to end the program.
 */
export function printError(...texts: string[]): void {
  messages.add(lines(...texts));
}

/**
 * Waits until standard error has taken all messages, for this many milliseconds at
 * most without progress.
 */
export async function flushMessages(milliseconds: number): Promise<void> {
  await messages.flush(milliseconds);
}

/** The importance of a message. */
export const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;
export type LogLevel = typeof LOG_LEVELS[number];

/** The form of messages: text for people, or one JSON object each. */
export const LOG_FORMATS = ["text", "json"] as const;
export type LogFormat = typeof LOG_FORMATS[number];

/**
 * The contents of a message for programs: names in camelCase, sizes in bytes, times
 * in seconds.
 */
export type LogFields = Readonly<
  Record<string, string | number | boolean | null>
>;

/** How a log is written. */
export interface LogOptions {
  readonly format?: LogFormat;
  /** Fields that every message has. */
  readonly fields?: LogFields;
  /**
   * Receives each line, and a function that describes dropped ones; writes to
   * standard error by default.
   */
  readonly write?: (line: string, describeLoss: DescribeLoss) => void;
}

/**
 * Writes messages to standard error, a line each, down to a level. It never waits:
 * if standard error is not read, messages are dropped and counted.
 *
 * @example
 * ```ts
 * const log = new Log("info", { format: "json" });
 * log.warn("browsers: the cap cannot be met", { group: "browsers" });
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

  /** Returns a log that adds fields to every message. */
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
    // These three names are reserved.
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

let isProgressHidden = false;

/** Shows no progress texts from now on: they would spoil what a whole screen shows. */
export function hideProgress(): void {
  isProgressHidden = true;
}

/** Shows a progress text on a terminal until disposed. */
export function progress(text: string): Disposable {
  const isShown = !isProgressHidden && standardError.isTerminal();
  const shown = escapeLine(text);
  if (isShown) messages.add(`${shown}\r`);
  return {
    [Symbol.dispose]() {
      if (isShown) messages.add(`${" ".repeat(shown.length)}\r`);
    },
  };
}
