/**
 * Tests of the lines by which a command borrows references, fuzzed too.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { damagedTexts, fuzz } from "../../tests/support/fuzzing.ts";
import {
  ANSWERS,
  encodeMessage,
  messagesOf,
  parseMessage,
  REQUESTS,
} from "./lease_protocol.ts";

const ID = { pid: 4242, startTime: 1234567 };

/** A stream that gives these bytes, a few at a time, and then ends. */
function streamOf(text: string, piece = 7): Pick<Deno.Conn, "read"> {
  let rest = Uint8Array.from(text, (letter) => letter.charCodeAt(0) & 0xff);
  return {
    read(into) {
      if (rest.length === 0) return Promise.resolve(null);
      const part = rest.subarray(0, Math.min(piece, into.length));
      into.set(part);
      rest = rest.slice(part.length);
      return Promise.resolve(part.length);
    },
  };
}

Deno.test("every message is parsed as it was encoded", () => {
  for (const word of [...REQUESTS, ...ANSWERS]) {
    const line = new TextDecoder().decode(encodeMessage({ word, id: ID }));
    assertEquals(line, `${word} 4242 1234567\n`);
    const words = [...REQUESTS, ...ANSWERS];
    assertEquals(parseMessage(line.trim(), words), { word, id: ID });
  }
});

Deno.test("anything else is not a message", () => {
  for (
    const line of [
      "",
      "begin",
      "begin 4242",
      "begin 0 1",
      "begin -1 1",
      "begin 1 01",
      "begin 1 1 ",
      " begin 1 1",
      "begin 1  1",
      "begin 99999999 1",
      "begin 1 9999999999999999",
      "BEGIN 1 1",
      "granted 1 1",
      "begin 1 1\r",
    ]
  ) {
    assertEquals(parseMessage(line, REQUESTS), undefined, line);
  }
});

Deno.test("messages are read however they are cut, up to the first that is none", async () => {
  const text = "begin 4242 7\nend 4242 7\nhello\nbegin 1 1\n";
  for (const piece of [1, 5, 64]) {
    const messages = await Array.fromAsync(
      messagesOf(streamOf(text, piece), REQUESTS),
    );
    assertEquals(messages.map(({ word }) => word), ["begin", "end"]);
  }
});

Deno.test("a line without an end is not kept beyond its limit", async () => {
  let given = 0;
  const endless: Pick<Deno.Conn, "read"> = {
    read(into) {
      given += into.length;
      return Promise.resolve(into.fill(0x61).length);
    },
  };
  assertEquals(await Array.fromAsync(messagesOf(endless, REQUESTS)), []);
  assert(given <= 64, `${given} bytes were read`);
});

Deno.test("fuzz: what clients send", async () => {
  const texts: string[] = [];
  const seeds: [string, ...string[]] = [
    "begin 4242 1234567\nend 4242 1234567\n",
    "begin 1 0\nbegin 4194303 99999999999999\n",
  ];
  fuzz(damagedTexts(seeds), 5000, (text) => {
    texts.push(text);
    const message = parseMessage(text.split("\n")[0], REQUESTS);
    if (!message) return;
    const { word, id: { pid, startTime } } = message;
    assert(REQUESTS.includes(word));
    assert(pid > 0 && pid < 10_000_000);
    assert(Number.isSafeInteger(startTime) && startTime >= 0);
  });
  for (const text of texts) {
    for await (const { id } of messagesOf(streamOf(text), REQUESTS)) {
      assert(Number.isSafeInteger(id.pid));
    }
  }
});
