import { assert, assertEquals, assertMatch } from "@std/assert";
import { unicodeWidth } from "@std/cli/unicode-width";
import { rowsOf } from "./rows.ts";
import { figuresOf, MIB, processFigures } from "./testing.ts";
import {
  ageBar,
  capBar,
  drawList,
  drawProcess,
  drawText,
  fit,
  type ListView,
} from "./view.ts";

const HOSTILE = [
  "\x1b]0;owned\x07\x1b[2J",
  "日本語のとても長いプロセス名",
  "e\u0301\u202egnp\u200b",
  "👩‍👩‍👧‍👦 family",
  "a\nb\tc\r",
  "\ud800",
];

const figures = figuresOf(
  HOSTILE.map((comm, at) =>
    processFigures(at + 1, {
      comm,
      cap: "web",
      idleMinute: at * MIB,
      error: at === 2 ? "denied \x1b[31m" : undefined,
    })
  ),
  {
    caps: [{
      name: "web",
      cap: 64 * MIB,
      rss: 90 * MIB,
      swap: 0,
      warning: "cannot be met \x1b[5m",
    }],
    notices: ["something \x1b[2J is missing"],
  },
);

function viewOf(rest: Partial<ListView> = {}): ListView {
  const options = {
    by: "process" as const,
    sort: "idle" as const,
    isReversed: false,
    filter: "",
    tree: false,
  };
  return {
    ...options,
    rows: rowsOf(figures, options),
    first: 0,
    selected: 1,
    isFrozen: false,
    message: undefined,
    ...rest,
  };
}

// deno-lint-ignore no-control-regex -- colours and other renditions, which rcap writes
const SGR = /\x1b\[[0-9;]*m/g;

const SIZES = [
  ...[10, 40, 47, 60, 80, 100, 200].map((width) => ({ width, height: 24 })),
  ...[1, 2, 5, 11, 12, 23, 24, 25, 26, 52].flatMap((width) =>
    [1, 2, 3, 4, 5, 6, 7].map((height) => ({ width, height }))
  ),
];

Deno.test("every line is as wide as the screen, whatever its size and names are", () => {
  for (const size of SIZES) {
    for (const color of [false, true]) {
      for (const unicode of [false, true]) {
        const display = { ...size, color, unicode };
        const row = viewOf().rows[0];
        const mappings = HOSTILE.map((name) => ({
          start: 0x7fff_0000_0000n,
          perm: "rw-p",
          name,
          rss: MIB,
          heat: [0, 0.5, 1],
        }));
        for (
          const lines of [
            drawList(figures, viewOf(), display),
            drawText(["some text that is long enough for two lines, or more"], {
              message: "back",
            }, display),
            drawProcess(
              row,
              { mappings, first: 0, message: undefined },
              display,
            ),
          ]
        ) {
          assertEquals(lines.length, size.height);
          for (const line of lines) {
            const plain = line.replace(SGR, "");
            assert(!/\p{Cc}/u.test(plain), JSON.stringify(line));
            if (!color) assertEquals(line as string, plain);
            if (!unicode) assertMatch(plain, /^[ -~]*$/);
            assertEquals(
              unicodeWidth(plain),
              size.width,
              `${JSON.stringify(size)}: ${JSON.stringify(line)}`,
            );
          }
        }
      }
    }
  }
});

Deno.test("a small screen has rows as long as it can, and always what is asked", () => {
  const drawn = (height: number, message?: string) =>
    drawList(
      figures,
      { ...viewOf(), message },
      { width: 20, height, color: false, unicode: true },
    );
  for (let height = 1; height <= 7; height++) {
    assert(drawn(height).some((line) => line.includes("M ")), `${height}`);
    assertMatch(drawn(height, "cap? 5").at(-1) ?? "", /^cap\? 5/);
  }
  assertEquals(drawn(5)[0].slice(0, 3), "Mem");
  assertMatch(drawn(3)[0], /RSS/);
});

Deno.test("a text is cut between characters, and shows that", () => {
  assertEquals(fit("abc", 5), "abc  ");
  assertEquals(fit("abcdef", 5), "abcd…");
  assertEquals(fit("日本語", 5), "日本…");
  assertEquals(fit("日本語", 4), "日… ");
  assertEquals(fit("abcdef", 5, false), "abcd~");
  assertEquals(fit("ä", 8, false), "\\u{e4}  ");
  assertEquals(fit("abc", 0), "");
});

Deno.test("a bar shows how much is in use, and idle for how long", () => {
  const display = { color: false, unicode: false };
  const bar = (idle: number[] | null, recorded: number) =>
    ageBar({ idle, recorded }, 10, display);
  assertEquals(bar([0, 0, 0, 0], 10), "##########");
  assertEquals(bar([5, 0, 0, 0], 10), "#####=====");
  assertEquals(bar([8, 6, 4, 2], 10), "##==++--..");
  assertEquals(bar([10, 10, 10, 10], 10), "..........");
  assertEquals(bar(null, 0), "          ");
});

Deno.test("a bar of a cap shows if it is exceeded", () => {
  assertEquals(capBar(50, 100, 8, false), "####....");
  assertEquals(capBar(100, 100, 8, false), "########");
  assertEquals(capBar(101, 100, 8, false), "#######!");
});

Deno.test("the head shows memory, swap with its ratio, and pressure", () => {
  const lines = drawList(figures, viewOf({ isFrozen: true }), {
    width: 100,
    height: 24,
    color: false,
    unicode: true,
  });
  assertMatch(lines[0], /^Mem 4.0G of 8.0G \(50%\).*pressure 1.23%/);
  assertMatch(lines[1], /^Swap 512.0M of 1.0G {2}compressed 4.0:1/);
  assertMatch(
    lines[2],
    /^FROZEN {2}6 processes watched 120s {2}cost them 6.0 ms/,
  );
  assertMatch(lines.at(-2) ?? "", /^cannot be met/);
});
