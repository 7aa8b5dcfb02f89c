/**
 * How a command asks a daemon to lend it the references of a process: lines of text over
 * a socket, each with a word and a process, `begin 4242 123456`.
 *
 * - The command sends `begin`. The daemon adds the references that are set to its own
 *   records, resets them, and answers `granted`. It resets them no more until the lease
 *   ends. A command that wants them reset again sends `begin` again.
 * - The command sends `end`, or closes the connection, and the lease ends.
 * - A lease that lasts too long ends by itself: the daemon sends `over`.
 *
 * @module
 */

import type { ProcessId } from "../platform/platform.ts";

/** What a command says. */
export const REQUESTS = ["begin", "end"] as const;

/** What a daemon says. */
export const ANSWERS = [
  /** The references have been reset, and are lent. */
  "granted",
  /** The daemon does not observe the process: the lock on it is free. */
  "free",
  /** The references are lent to another command. */
  "busy",
  /** The process cannot be read at the moment. */
  "failed",
  /** The lease has lasted too long, and has ended. */
  "over",
] as const;

export type Request = typeof REQUESTS[number];
export type Answer = typeof ANSWERS[number];

/** The longest line, in bytes. */
const LONGEST_LINE = 64;

/** A line: a word about a process. */
export interface Message<Word extends string> {
  readonly word: Word;
  readonly id: ProcessId;
}

/** Encodes a line. */
export function encodeMessage(
  { word, id: { pid, startTime } }: Message<Request | Answer>,
): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${word} ${pid} ${startTime}\n`);
}

/** Parses a line without its end; `undefined` if it is none of the messages. */
export function parseMessage<Word extends string>(
  line: string,
  words: readonly Word[],
): Message<Word> | undefined {
  const match = /^([a-z]+) ([1-9]\d{0,6}) (0|[1-9]\d{0,14})$/.exec(line);
  const word = words.find((one) => one === match?.[1]);
  if (!match || word === undefined) return undefined;
  return { word, id: { pid: Number(match[2]), startTime: Number(match[3]) } };
}

/**
 * Reads messages until the stream ends, fails, or contains anything else.
 *
 * @param stream closed by the caller.
 */
export async function* messagesOf<Word extends string>(
  stream: Pick<Deno.Conn, "read">,
  words: readonly Word[],
): AsyncGenerator<Message<Word>> {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(LONGEST_LINE);
  let length = 0;
  for (;;) {
    const end = buffer.subarray(0, length).indexOf(0x0a);
    if (end >= 0) {
      const message = parseMessage(
        decoder.decode(buffer.subarray(0, end)),
        words,
      );
      buffer.copyWithin(0, end + 1, length);
      length -= end + 1;
      if (!message) return;
      yield message;
      continue;
    }
    if (length === buffer.length) return;
    const count = await readSome(stream, buffer.subarray(length));
    if (count === null) return;
    length += count;
  }
}

/** @returns `null` at the end of the stream. */
async function readSome(
  stream: Pick<Deno.Conn, "read">,
  into: Uint8Array,
): Promise<number | null> {
  try {
    return await stream.read(into);
  } catch {
    // After any error the connection is over.
    return null;
  }
}
