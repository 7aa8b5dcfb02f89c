/**
 * Tests of the queue of lines.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { LineQueue, type Loss } from "./line_queue.ts";

/** A reader that accepts writes only after it is opened. */
class Reader {
  text = "";
  writes = 0;
  #taken = Promise.withResolvers<boolean>();

  readonly write = async (bytes: Uint8Array<ArrayBuffer>): Promise<boolean> => {
    this.writes++;
    const isRead = await this.#taken.promise;
    this.text += new TextDecoder().decode(bytes);
    return isRead;
  };

  /** Accepts everything from now on, at once. */
  open(isRead = true): void {
    this.#taken.resolve(isRead);
  }

  /** Fails all writes from now on. */
  fail(): void {
    this.#taken.promise.catch(() => {});
    this.#taken.reject(new Error("no space"));
  }
}

const describe = ({ lines }: Loss) => `${lines} dropped\n`;

Deno.test("lines are written in order, many per write", async () => {
  const reader = new Reader();
  const queue = new LineQueue(reader.write);
  const lines = Array.from({ length: 900 }, (_, at) => `line ${at}\n`);
  for (const line of lines) queue.add(line, describe);
  reader.open();
  await queue.flush(10_000);
  assertEquals(reader.text, lines.join(""));
  assert(reader.writes < 10, `${reader.writes} writes`);
});

Deno.test("a reader that does not read neither blocks nor uses up memory", async () => {
  const reader = new Reader();
  const queue = new LineQueue(reader.write);
  const line = `${"x".repeat(99)}\n`;
  const before = Deno.memoryUsage();
  for (let count = 0; count < 200_000; count++) queue.add(line, describe);
  const grown = Deno.memoryUsage().external - before.external;
  assert(grown < 2 * 2 ** 20, `${grown} bytes more`);
  const began = performance.now();
  await queue.flush(20);
  assert(performance.now() - began >= 19);
  reader.open();
  await queue.flush(10_000);
  assertEquals(reader.text, `${line.repeat(1001)}198999 dropped\n`);
});

Deno.test("bytes are limited as well as lines, and a gap is reported once, in its place", async () => {
  const reader = new Reader();
  let told: Loss | undefined;
  const queue = new LineQueue(reader.write, { lines: 100, bytes: 20 });
  const tell = (loss: Loss) => {
    told = loss;
    return describe(loss);
  };
  queue.add("1234567890\n", tell);
  queue.add("12345678\n", tell);
  queue.add("too long\n", tell);
  // There is room for it, but not ahead of the earlier lines.
  queue.add("\n", tell);
  await new Promise((resolve) => setTimeout(resolve, 30));
  reader.open();
  await queue.flush(10_000);
  queue.add("later\n", tell);
  await queue.flush(10_000);
  assertEquals(
    reader.text,
    "1234567890\n12345678\n2 dropped\nlater\n",
  );
  assert(told && told.seconds >= 0.029 && told.seconds < 10, `${told}`);
});

Deno.test("a line that must not be dropped is added, after the gap before it", async () => {
  const reader = new Reader();
  const queue = new LineQueue(reader.write, { lines: 1, bytes: 100 });
  for (let at = 0; at < 4; at++) queue.add(`${at}\n`, describe);
  queue.add("why it ends\n");
  reader.open();
  await queue.flush(10_000);
  assertEquals(reader.text, "0\n1\n2 dropped\nwhy it ends\n");
});

Deno.test("lines that cannot be written are dropped, and later ones are tried", async () => {
  const reader = new Reader();
  const queue = new LineQueue(reader.write);
  reader.fail();
  queue.add("lost\n", describe);
  await queue.flush(10_000);
  queue.add("lost too\n", describe);
  await queue.flush(10_000);
  assertEquals([reader.text, reader.writes], ["", 2]);
});

Deno.test("after the reader has gone, nothing is kept", async () => {
  const reader = new Reader();
  const queue = new LineQueue(reader.write);
  queue.add("seen by nobody\n", describe);
  queue.add("nor this\n", describe);
  reader.open(false);
  await queue.flush(10_000);
  queue.add("nor that\n", describe);
  await queue.flush(10_000);
  assertEquals(reader.writes, 1);
});

Deno.test("a line that is added while a write ends is written too", async () => {
  for (let steps = 0; steps < 20; steps++) {
    const written: string[] = [];
    const ended = Promise.withResolvers<void>();
    const queue = new LineQueue((bytes) => {
      written.push(new TextDecoder().decode(bytes));
      queueMicrotask(ended.resolve);
      return Promise.resolve(true);
    });
    queue.add("first\n", describe);
    await ended.promise;
    for (let step = 0; step < steps; step++) await undefined;
    queue.add("second\n", describe);
    await queue.flush(1000);
    assertEquals(written, ["first\n", "second\n"], `after ${steps} steps`);
  }
});

Deno.test("a write that throws at once holds up no other", async () => {
  const written: string[] = [];
  const queue = new LineQueue((bytes) => {
    const line = new TextDecoder().decode(bytes);
    if (line === "first\n") throw new Error("no");
    written.push(line);
    return Promise.resolve(true);
  });
  queue.add("first\n", describe);
  queue.add("second\n", describe);
  await queue.flush(1000);
  assertEquals(written, ["second\n"]);
});
