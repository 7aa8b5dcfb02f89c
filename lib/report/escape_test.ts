/**
 * Tests of escaping.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { escapeLine, json, lines } from "./escape.ts";
import { firstUnsafe } from "./testing.ts";

/** Whether a line has no character that a terminal would act on. */
function isPlain(line: string): boolean {
  return !line.includes("\n") && firstUnsafe(line) === undefined;
}

Deno.test("characters that a terminal acts on are escaped, and a text stays on its line", () => {
  const cases: readonly [text: string, escaped: string][] = [
    ["/tmp/a b\nc\t(deleted)", "/tmp/a b\\nc\\t(deleted)"],
    // Terminal control characters of 7 and of 8 bits.
    ["\x00\x1b[31m\x7f\x9b31m\x85", "\\x00\\x1b[31m\\x7f\\x9b31m\\x85"],
    ["\x1b]0;title\x07", "\\x1b]0;title\\x07"],
    ["a\r\x08\x0b\x0c", "a\\r\\x08\\x0b\\x0c".replace("\\r", "\\x0d")],
    // Text direction: embeddings and overrides, isolates, marks.
    ["\u202agpj\u202e", "\\u202agpj\\u202e"],
    ["\u2066\u2067\u2068\u2069", "\\u2066\\u2067\\u2068\\u2069"],
    ["\u200e\u200f\u061c", "\\u200e\\u200f\\u061c"],
    // Ends of lines and paragraphs.
    ["a\u2028b\u2029", "a\\u2028b\\u2029"],
    // Invisible characters: zero width, tags, fillers, other spaces.
    ["\u200b\u200c\u200d\u2060\ufeff", "\\u200b\\u200c\\u200d\\u2060\\ufeff"],
    ["\u00ad\u180e\u3164\u115f", "\\xad\\u180e\\u3164\\u115f"],
    ["\u{e0001}\u{e0041}", "\\u{e0001}\\u{e0041}"],
    ["\u00a0\u2003\u3000", "\\xa0\\u2003\\u3000"],
    // Not characters: lone surrogates, private use, unassigned, replaced bytes.
    ["\ud800x\udfff", "\\ud800x\\udfff"],
    ["\ue000\u{f0000}\uffff\u{10ffff}", "\\ue000\\u{f0000}\\uffff\\u{10ffff}"],
    ["\ufffd", "\\ufffd"],
  ];
  for (const [text, escaped] of cases) {
    assertEquals(escapeLine(text), escaped);
    assertEquals(lines(text, "", text), `${escaped}\n\n${escaped}\n`);
  }
});

Deno.test("every other character stays", () => {
  const text = "größe – 日本語 العربية हिन्दी 🐢 \\012 \\x1b ~";
  assertEquals(escapeLine(text), text);
});

Deno.test("the line of any text is plain, and escaping it again changes nothing", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 50 }), (text) => {
      const line = escapeLine(text);
      assert(isPlain(line), line);
      assertEquals(escapeLine(line), line);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("every character of Unicode is either plain or escaped", () => {
  for (let code = 0; code <= 0x10ffff; code++) {
    const line = escapeLine(String.fromCodePoint(code));
    if (!isPlain(line)) throw new Error(`U+${code.toString(16)}: ${line}`);
  }
});

Deno.test("JSON is plain and parses to the same value", () => {
  const texts = [
    'größe "a"\\\n\t\x00\x1b[31m\x7f\x9b31m\u2028\u2029 日本語 \ud800',
    "\u202e\u{e0001}\ufeff\ufffd\u{10ffff}",
  ];
  for (const text of texts) {
    const printed = json({ [text]: [text] });
    assert(printed.endsWith("\n") && isPlain(printed.slice(0, -1)), printed);
    assertEquals(JSON.parse(printed), { [text]: [text] });
  }
  fc.assert(fc.property(fc.jsonValue(), (value) => {
    const printed = json(value);
    assert(isPlain(printed.slice(0, -1)), printed);
    assertEquals(JSON.parse(printed), JSON.parse(JSON.stringify(value)));
  }));
});
