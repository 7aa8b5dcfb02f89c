/**
 * Tests of parsing TOML with its lines.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { lineOf, parseToml, TomlError, type TomlPath } from "./toml.ts";

const runs = { seed: 20_260_101, numRuns: 2000 };

const TEXT = `# a comment
top = "text"

[daemon]
sample_interval = '5s'
dotted.key = [1, 2.5, true]

[[cap]]
name = "first"
select = [
  "user:root",
  # between
  "pid:1",
]

[[cap]]
name = "second"
[cap.inner]
deep = { list = [{ a = 1 }] }
`;

Deno.test("values are those of the file, integers as bigint", () => {
  assertEquals(parseToml(TEXT).value, {
    top: "text",
    daemon: { sample_interval: "5s", dotted: { key: [1n, 2.5, true] } },
    cap: [
      { name: "first", select: ["user:root", "pid:1"] },
      { name: "second", inner: { deep: { list: [{ a: 1n }] } } },
    ],
  });
  assertEquals(parseToml("").value, {});
  assertEquals(parseToml("a = 99999999999999999999").value, {
    a: 99999999999999999999n,
  });
});

Deno.test("every value has its line, a missing one that of the table around it", () => {
  const { root } = parseToml(TEXT);
  const lines: [TomlPath, number][] = [
    [["top"], 2],
    [["daemon"], 4],
    [["daemon", "sample_interval"], 5],
    [["daemon", "dotted", "key"], 6],
    [["daemon", "process_interval"], 4],
    [["cap", 0], 8],
    [["cap", 0, "select"], 10],
    [["cap", 0, "select", 0], 11],
    [["cap", 0, "select", 1], 13],
    [["cap", 0, "max_rss"], 8],
    [["cap", 1], 16],
    [["cap", 1, "inner", "deep", "list", 0, "a"], 19],
    [["nothing"], 1],
  ];
  for (const [path, line] of lines) {
    assertEquals(lineOf(root, path), line, path.join("."));
  }
  assertEquals(lineOf(parseToml("\r\n\r\na = 1\r\n").root, ["a"]), 3);
});

Deno.test("names of built-in properties are ordinary keys", () => {
  const { root, value } = parseToml(
    `__proto__.polluted = 1
     constructor.prototype.polluted = 1
     [[cap]]
     __proto__ = { name = "x" }
     [toString]
     [hasOwnProperty.__proto__]
     polluted = 1`,
  );
  assertEquals([...root.children.keys()], [
    "__proto__",
    "constructor",
    "cap",
    "toString",
    "hasOwnProperty",
  ]);
  assert(!("polluted" in {}));
  const [cap] = Object(value).cap;
  assertEquals(Object.keys(cap), ["__proto__"]);
  assert(!("name" in cap));
});

Deno.test("invalid TOML is rejected with the line and a remedy", () => {
  const generic =
    "put text in quotation marks and lists in brackets; see https://toml.io";
  const broken: [text: string, line: number, message: string][] = [
    [
      '[[cap]]\nname = "x"\nmax_rss = 2G # a comment\n',
      3,
      'malformed TOML (must be a newline): max_rss = 2G # a comment; put text in quotation marks: max_rss = "2G"',
    ],
    [
      "name = my app",
      1,
      'malformed TOML (unexpected character): name = my app; put text in quotation marks: name = "my app"',
    ],
    [
      "select = [user:root]",
      1,
      `malformed TOML (unexpected character): select = [user:root]; ${generic}`,
    ],
    [
      'a = "1"\n\nb = "2\nc = 3',
      3,
      `malformed TOML (unterminated string constant): b = "2; ${generic}`,
    ],
    [
      "[daemon\n\n# what it does\nx = 1",
      1,
      `malformed TOML (the key, equals sign, and value must be on the same line): [daemon; ${generic}`,
    ],
    [
      "a = 1\nb =\n\n",
      2,
      `malformed TOML (unspecified values are invalid): b =; ${generic}`,
    ],
    [
      "[[cap]]\n[cap]",
      2,
      "malformed TOML (defining a key multiple times is invalid): [cap]; keep one of them; every cap begins with its own [[cap]]",
    ],
    [
      `a = ${"x".repeat(100)}`,
      1,
      `malformed TOML (unexpected character): a = ${
        "x".repeat(56)
      }…; ${generic}`,
    ],
    [
      'select = ["user:CORP\\alice"]',
      1,
      "malformed TOML (invalid character in escape sequence): select = [\"user:CORP\\alice\"]; a backslash in double quotes begins an escape; put the text in single quotes: 'user:CORP\\alice'",
    ],
    [
      'select = ["comm:\\\\*", "unit:a\\x2d", "user:CORP\\ursula"]',
      1,
      'malformed TOML (invalid character in escape sequence): select = ["comm:\\\\*", "unit:a\\x2d", "user:CORP\\ursula"]; a backslash in double quotes begins an escape; put the text in single quotes: \'user:CORP\\ursula\'',
    ],
    [
      'select = ["exe:/it\'s\\*"]',
      1,
      'malformed TOML (invalid character in escape sequence): select = ["exe:/it\'s\\*"]; a backslash in double quotes begins an escape; write every backslash twice',
    ],
  ];
  for (const [text, line, message] of broken) {
    const error = assertThrows(() => parseToml(text), TomlError);
    assertEquals({ line: error.line, message: error.message }, {
      line,
      message,
    });
  }
});

Deno.test("excessive nesting is rejected", () => {
  const nested = "[".repeat(50_000);
  for (const text of [`a = ${nested}`, `a = ${nested}1${"]".repeat(50_000)}`]) {
    assertThrows(() => parseToml(text), TomlError);
  }
  assertThrows(
    () => parseToml(`${"a.".repeat(100_000)}b = 1`),
    TomlError,
    "it is nested too deeply",
  );
});

/** Texts of TOML's tokens in any order. */
const fragments = fc.array(
  fc.constantFrom(
    ..."[ ] [[ ]] = \" ' \"\"\" ''' . , { } a b cap daemon # 1 0x _ - inf nan true"
      .split(" "),
    ..."1979-05-27 T07:32:00 \\u 1e5 é a=1 [a] [[a]] a.b=1 [a.b] a=[] a={} a=[{}]"
      .split(" "),
    ...[" ", "\n", "\r\n", "\r", "\0", "\ud800"],
    ...["\na=1\n", "\n[a]\n", "\n[[a]]\n", "\n[[a.b]]\n", "\n__proto__={}\n"],
  ),
  { maxLength: 12 },
).map((parts) => parts.join(""));

Deno.test("any text is parsed, or rejected with a line", () => {
  fc.assert(
    fc.property(fc.oneof(fragments, fc.string({ unit: "binary" })), (text) => {
      try {
        const { value } = parseToml(text);
        assert(typeof value === "object");
      } catch (error) {
        if (!(error instanceof TomlError)) throw error;
        const lines = text.split("\n").length;
        assert(error.line >= 1 && error.line <= lines, `line ${error.line}`);
      }
    }),
    runs,
  );
});
