/**
 * Tests of globs, compared with the C library's own function.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { MalformedGlob, parseGlob, shapeOf } from "./glob.ts";

// Opened before the first test, which would otherwise appear to leak it.
const { symbols: libc } = Deno.dlopen("libc.so.6", {
  fnmatch: { parameters: ["buffer", "buffer", "i32"], result: "i32" },
});

/** Whether a text matches a pattern according to the C library. */
function fnmatch(pattern: string, text: string): boolean {
  const cString = (value: string) => new TextEncoder().encode(`${value}\0`);
  return libc.fnmatch(cString(pattern), cString(text), 0) === 0;
}

/** Few characters, so that patterns often match texts. */
const CHARACTERS = ["a", "b", "c", "-", "/", ".", "\n", "!", "^", "]", "["];

const text = fc.array(fc.constantFrom(...CHARACTERS), { maxLength: 12 })
  .map((characters) => characters.join(""));

const setMember = fc.constantFrom(
  ...["a", "b", "c", "/", "-", ".", "!", "^", "[", "a-c", "b-b", "--/", "\\]"],
  ...["\\-", "\\\\", "[:alpha:]", "[:punct:]", "[:space:]"],
);

const set = fc.tuple(
  fc.constantFrom("[", "[!", "[^", "[]", "[!]", "[^]"),
  fc.array(setMember, { minLength: 1, maxLength: 4 }),
).map(([start, members]) => `${start}${members.join("")}]`);

const pattern = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom("*", "?", "a", "b", "c", "/") },
    { weight: 1, arbitrary: fc.constantFrom("\\*", "\\[", "\\]", "\\a", "**") },
    { weight: 1, arbitrary: set },
    { weight: 1, arbitrary: fc.constantFrom("-", ".", "\n", "!", "^") },
  ),
  { maxLength: 10 },
).map((parts) => parts.join(""));

/** Parses a pattern; `undefined` if it is malformed. */
function parsed(pattern: string) {
  try {
    return parseGlob(pattern);
  } catch (error) {
    assert(error instanceof MalformedGlob, String(error));
    return undefined;
  }
}

Deno.test("a glob matches what fnmatch(3) matches", () => {
  let compared = 0;
  let matched = 0;
  fc.assert(
    fc.property(pattern, text, (pattern, text) => {
      const glob = parsed(pattern);
      if (!glob) return;
      compared++;
      const verdict = glob(text);
      if (verdict) matched++;
      assertEquals(verdict, fnmatch(pattern, text));
    }),
    { numRuns: 10_000 },
  );
  // The patterns are chosen so that both results are frequent.
  assert(compared > 5000, `${compared} compared`);
  assert(matched > 100, `${matched} of ${compared} matched`);
});

Deno.test("every text is a glob or is reported as malformed", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom(...CHARACTERS, "*", "?", "\\", ":") }),
      fc.string(),
      (pattern, text) => {
        assert(typeof (parsed(pattern)?.(text) ?? false) === "boolean");
      },
    ),
    { numRuns: 10_000 },
  );
});

Deno.test("a text with special characters matches the glob in which they are quoted", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme-ascii" }), (text) => {
      const quoted = [...text].map((one) => `\\${one}`).join("");
      assert(parseGlob(quoted)(text));
      assertEquals(parseGlob(quoted)(`${text}x`), false);
    }),
  );
});

Deno.test("one character is one code point", () => {
  assert(parseGlob("?")("\u{1f600}"));
  assert(!parseGlob("??")("\u{1f600}"));
  assert(parseGlob("[\u{1f600}-\u{1f610}]")("\u{1f605}"));
  assert(parseGlob("*\u{1f600}?")("a\u{1f600}\u{1f600}\u{1f600}b"));
  assert(parseGlob("[!a]")("\ufffd"));
});

Deno.test("the error says what is wrong with a malformed glob", () => {
  const cases: [pattern: string, message: string][] = [
    ["[a", 'nothing closes the bracket "["'],
    ["[", 'nothing closes the bracket "["'],
    ["[!", 'nothing closes the bracket "["'],
    ["[]", 'nothing closes the bracket "["'],
    ["[a-", 'nothing closes the bracket "["'],
    ["a]", 'nothing opens the bracket "]"'],
    ["[z-a]", 'the range "z-a" is the wrong way round'],
    ["a\\", "nothing follows the backslash"],
    ["[a\\", "nothing follows the backslash"],
    ["[[:alpha]", '"[:alpha" is not the start of a character class'],
    ["[[:letter:]]", '"[:letter" is not the start of a character class'],
    [
      "[[:constructor:]]",
      '"[:constructor" is not the start of a character class',
    ],
    ["[[.a.]]", '"[." within brackets is not a character'],
    ["[[=a=]]", '"[=" within brackets is not a character'],
    ["[a-[:alpha:]]", '"[:" within brackets is not a character'],
  ];
  for (const [pattern, message] of cases) {
    assertThrows(() => parseGlob(pattern), MalformedGlob, message);
  }
});

Deno.test("no match takes longer than the length of the text times that of the pattern", () => {
  const path = `/${"a".repeat(4094)}`;
  const attacks: [pattern: string, text: string][] = [
    ["*a*a*a*b", path],
    ["*a*a*a*b", "a".repeat(3500)],
    [`${"*a".repeat(1000)}*b`, path],
    [`${"*?".repeat(1000)}b`, path],
    [`${"*".repeat(1000)}b`, path],
    [`${"*[ab]".repeat(1000)}c`, path],
    [`${"*[!b]".repeat(500)}b`, path],
    [`*[${"[".repeat(1000)}]b`, "[".repeat(4096)],
    [`*${"a?".repeat(500)}b`, path],
    [`${"*[[:alpha:]a]".repeat(200)}!`, path],
  ];
  const began = performance.now();
  for (const [pattern, text] of attacks) {
    assertEquals(parseGlob(pattern)(text), false);
  }
  // All of them take milliseconds. With backtracking the first alone would take
  // minutes.
  assert(performance.now() - began < 30_000);
});

Deno.test("what a glob matches has its shape", () => {
  fc.assert(
    fc.property(pattern, text, (pattern, text) => {
      if (!parsed(pattern)?.(text)) return;
      const { leastBytes, canBegin, canEnd } = shapeOf(pattern);
      const bytes = new TextEncoder().encode(text).length;
      assert(leastBytes <= bytes, `${leastBytes} of ${pattern}, ${bytes}`);
      for (let at = 0; at <= text.length; at++) {
        assert(canBegin(text.slice(0, at)));
        assert(canEnd(text.slice(at)));
      }
    }),
    { numRuns: 10_000 },
  );
});

Deno.test("the shape of a glob is known up to its stars", () => {
  const cases: [
    pattern: string,
    least: number,
    begins: string,
    ends: string,
  ][] = [
    ["abc", 3, "a", "bc"],
    ["a*c", 2, "ab", "bc"],
    ["*", 0, "x", "x"],
    ["", 0, "", ""],
    ["[a-c]?\u00e4", 4, "bx\u00e4", "cx\u00e4"],
    ["[\u00e4\u{1f600}]\u{1f600}", 6, "\u00e4\u{1f600}", "\u{1f600}"],
    ["[!a][^a]", 2, "bb", "bb"],
  ];
  for (const [pattern, least, begins, ends] of cases) {
    const { leastBytes, canBegin, canEnd } = shapeOf(pattern);
    assertEquals(leastBytes, least, pattern);
    assert(canBegin(begins), pattern);
    assert(canEnd(ends), pattern);
  }
  const { canBegin, canEnd } = shapeOf("a?*c");
  for (const text of ["b", "c", "*"]) assertEquals(canBegin(text), false, text);
  for (const text of ["b", "a", "*"]) assertEquals(canEnd(text), false, text);
  assertEquals(shapeOf("ab").canBegin("abc"), false);
  assertEquals(shapeOf("ab").canEnd("xab"), false);
});
