/**
 * The lines of a stream of bytes, within limits.
 *
 * @module
 */

const NEWLINE = 0x0a;

/** A line that is longer than the limit; its contents were dropped. */
export const TOO_LONG = Symbol("too long");

/**
 * Reads lines. A last line without an end is not complete, and is dropped.
 *
 * @param most the most bytes of a line; those of a longer one are not kept.
 * @param onBytes called whenever bytes arrive.
 */
export async function* linesOf(
  stream: AsyncIterable<Uint8Array>,
  most: number,
  onBytes: () => void = () => {},
): AsyncGenerator<string | typeof TOO_LONG> {
  let parts: Uint8Array[] = [];
  let size = 0;
  for await (const bytes of stream) {
    onBytes();
    let from = 0;
    for (;;) {
      const end = bytes.indexOf(NEWLINE, from);
      const part = bytes.subarray(from, end < 0 ? undefined : end);
      size += part.length;
      if (size <= most) parts.push(part);
      else parts = [];
      if (end < 0) break;
      if (size > most) yield TOO_LONG;
      else if (size > 0) yield textOf(parts, size);
      parts = [];
      size = 0;
      from = end + 1;
    }
  }
}

/**
 * Reads a stream to its end.
 *
 * @returns its text; `TOO_LONG` if it has more bytes than the limit.
 */
export async function textUpTo(
  stream: AsyncIterable<Uint8Array>,
  most: number,
): Promise<string | typeof TOO_LONG> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const bytes of stream) {
    size += bytes.length;
    // Leaving the loop cancels the stream.
    if (size > most) return TOO_LONG;
    parts.push(bytes);
  }
  return textOf(parts, size);
}

function textOf(parts: readonly Uint8Array[], size: number): string {
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return new TextDecoder().decode(all);
}
