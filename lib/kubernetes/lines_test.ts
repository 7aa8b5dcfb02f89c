/**
 * Tests of the lines of a stream.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzzSeed } from "../../tests/support/fuzzing.ts";
import { linesOf, textUpTo, TOO_LONG } from "./lines.ts";

async function* chunks(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield await bytesOf(text);
}

function bytesOf(text: string): Promise<Uint8Array> {
  return Promise.resolve(new TextEncoder().encode(text));
}

function linesIn(most: number, ...texts: string[]) {
  return Array.fromAsync(linesOf(chunks(...texts), most));
}

Deno.test("lines are complete, however they arrive", async () => {
  assertEquals(await linesIn(9, "a\nbc", "d\n", "\n", "e\nunfinished"), [
    "a",
    "bcd",
    "e",
  ]);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ unit: "grapheme", minLength: 1 })),
      fc.integer({ min: 1, max: 7 }),
      async (texts, step) => {
        const lines = texts.map((text) => text.replaceAll("\n", " "));
        const bytes = await bytesOf(lines.map((line) => `${line}\n`).join(""));
        const stream = async function* () {
          for (let at = 0; at < bytes.length; at += step) {
            yield await Promise.resolve(bytes.subarray(at, at + step));
          }
        };
        assertEquals(await Array.fromAsync(linesOf(stream(), 1000)), lines);
      },
    ),
    { seed: fuzzSeed() },
  );
});

Deno.test("a line beyond the limit is dropped, and those after it are read", async () => {
  assertEquals(await linesIn(4, "1234\n12345\n", "12", "34", "5", "\nok\n"), [
    "1234",
    TOO_LONG,
    TOO_LONG,
    "ok",
  ]);
});

Deno.test("a text beyond the limit is not read to its end", async () => {
  assertEquals(await textUpTo(chunks("1", "2"), 2), "12");
  let isCancelled = false;
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(1000)),
    cancel: () => {
      isCancelled = true;
    },
  });
  assertEquals(await textUpTo(endless, 10_000), TOO_LONG);
  assertEquals(isCancelled, true);
});
