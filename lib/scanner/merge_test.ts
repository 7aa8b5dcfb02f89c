/**
 * Tests of merging two readings of one address space.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { SCHEDCTL_FLAGS } from "../memory/mapping_flags.ts";
import {
  drawingOf,
  type DrawnMapping,
  PAGE,
  pagedataOf,
} from "../memory/testing.ts";
import { mergePagedata } from "./merge.ts";

/**
 * A first mapping that does not change, so that the rule for first mappings does
 * not apply.
 */
const first: DrawnMapping = { start: 0x1000n, pages: "0" };

/** Merges two drawings; returns whether mappings changed and the merged drawing. */
function merged(
  previous: readonly DrawnMapping[],
  next: readonly DrawnMapping[],
): [changed: boolean, ...pages: string[]] {
  const before = pagedataOf(previous);
  const after = pagedataOf(next);
  const changed = mergePagedata(before, after);
  assertEquals(drawingOf(before), drawingOf(pagedataOf(previous)));
  return [changed, ...drawingOf(after)];
}

Deno.test("bits are or-ed page by page if the mappings are the same", () => {
  assertEquals(
    merged(
      [{ start: 0x10000n, pages: "0123012" }],
      [{ start: 0x10000n, pages: "0000333" }],
    ),
    [false, "0123333"],
  );
});

Deno.test("the same recorded pages are merged whatever the offsets of their bytes", () => {
  // The bytes of the second mapping have a different offset on each side.
  for (let shift = 0; shift < 9; shift++) {
    const pages = "2010".repeat(5);
    assertEquals(
      merged(
        [{ start: 0x10000n, pages: "................" }, {
          start: 0x20000n,
          pages: `3${pages}3`,
        }],
        [
          {
            start: 0x10000n,
            pages: "0".repeat(shift) + ".".repeat(16 - shift),
          },
          { start: 0x20000n, pages: `0${"0001".repeat(5)}0` },
        ],
      ),
      [
        false,
        "0".repeat(shift) + ".".repeat(16 - shift),
        `3${"2011".repeat(5)}3`,
      ],
    );
  }
});

Deno.test("pages are matched by address across holes", () => {
  assertEquals(
    merged(
      [{ start: 0x10000n, pages: "22..22..2222.." }],
      [{ start: 0x10000n, pages: "0000..001.0.1." }],
    ),
    [false, "2200..003.2.1."],
  );
});

Deno.test("how recorded pages are divided into runs does not matter", () => {
  assertEquals(
    merged(
      [{ start: 0x10000n, pages: "2|1|32" }, { start: 0x20000n, pages: "12" }],
      [{ start: 0x10000n, pages: "000|0" }, { start: 0x20000n, pages: "0|0" }],
    ),
    [false, "2132", "12"],
  );
});

Deno.test("an equal number of runs of the same length elsewhere are other pages", () => {
  assertEquals(
    merged(
      [{ start: 0x10000n, pages: "22..33.." }],
      [{ start: 0x10000n, pages: "00.00..." }],
    ),
    [false, "22.03..."],
  );
});

Deno.test("an equal number of runs at the same pages may differ in length", () => {
  assertEquals(
    merged(
      [{ start: 0x10000n, pages: "22..333." }],
      [{ start: 0x10000n, pages: "000.00.." }],
    ),
    [false, "220.33.."],
  );
});

Deno.test("runs of the next mapping are not taken for a mapping's own", () => {
  assertEquals(
    merged(
      [{ start: 0x10000n, pages: "2...." }, {
        start: 0x20000n,
        pages: "...3.",
      }],
      [{ start: 0x10000n, pages: "0..0." }, {
        start: 0x20000n,
        pages: ".....",
      }],
    ),
    [false, "2..0.", "....."],
  );
});

Deno.test("a mapping that grows at either end keeps its bits", () => {
  const grown = [first, { start: 0x10000n, pages: "00000000" }];
  assertEquals(
    merged([first, { start: 0x12000n, pages: "1.23" }], grown),
    [true, "0", "00102300"],
  );
  assertEquals(
    merged([first, { start: 0x10000n, pages: "1.23" }], grown),
    [true, "0", "10230000"],
  );
});

Deno.test("a mapping that shrinks at either end keeps its bits", () => {
  const old = [first, { start: 0x10000n, pages: "12301.23" }];
  assertEquals(
    merged(old, [first, { start: 0x12000n, pages: "000000" }]),
    [true, "0", "301023"],
  );
  assertEquals(
    merged(old, [first, { start: 0x10000n, pages: "0000" }]),
    [true, "0", "1230"],
  );
});

Deno.test("a mapping that is split keeps its bits in all parts", () => {
  assertEquals(
    merged(
      [first, { start: 0x10000n, pages: "11223312" }],
      [
        first,
        { start: 0x10000n, pages: "000" },
        { start: 0x13000n, pages: "0.", flags: 0 },
        { start: 0x16000n, pages: ".0" },
      ],
    ),
    [true, "0", "112", "2.", ".2"],
  );
});

Deno.test("mappings that grow together keep the bits of all parts", () => {
  assertEquals(
    merged(
      [
        first,
        { start: 0x10000n, pages: "1.3" },
        { start: 0x14000n, pages: "21" },
        { start: 0x16000n, pages: "3" },
      ],
      [first, { start: 0x10000n, pages: "00000000" }],
    ),
    [true, "0", "10302130"],
  );
});

Deno.test("overlaps that are shifted in both directions are merged", () => {
  assertEquals(
    merged(
      [
        first,
        { start: 0x10000n, pages: "1111" },
        { start: 0x14000n, pages: "2222" },
        { start: 0x18000n, pages: "3333" },
      ],
      [
        first,
        { start: 0x12000n, pages: "0000" },
        { start: 0x16000n, pages: "00000000" },
      ],
    ),
    [true, "0", "1122", "22333300"],
  );
});

Deno.test("mappings that appear or disappear do not affect the bits of others", () => {
  assertEquals(
    merged(
      [
        first,
        { start: 0x10000n, pages: "11" },
        { start: 0x20000n, pages: "22" },
        { start: 0x40000n, pages: "33" },
      ],
      [
        first,
        { start: 0x20000n, pages: "00" },
        { start: 0x30000n, pages: "00" },
        { start: 0x40000n, pages: "00" },
      ],
    ),
    [true, "0", "22", "00", "33"],
  );
});

Deno.test("an additional or missing mapping at the very end is a change", () => {
  const one = [first];
  const two = [first, { start: 0x10000n, pages: "0" }];
  assertEquals(merged(one, two), [true, "0", "0"]);
  assertEquals(merged(two, one), [true, "0"]);
  assertEquals(merged([], one), [true, "0"]);
  assertEquals(merged(one, []), [true]);
  assertEquals(merged([], []), [false]);
});

Deno.test("other flags are no change", () => {
  assertEquals(
    merged(
      [{ start: 0x10000n, pages: "12" }],
      [{ start: 0x10000n, pages: "00", flags: 0 }],
    ),
    [false, "12"],
  );
});

Deno.test("pages of different sizes match only at the start of both mappings", () => {
  const small = [first, { start: 0x10000n, pages: "3333" }];
  const large = [first, { start: 0x10000n, pages: "00", pageSize: 2 * PAGE }];
  assertEquals(merged(small, large), [true, "0", "30"]);
  const hole = [first, { start: 0x10000n, pages: ".333" }];
  assertEquals(merged(hole, large), [true, "0", "00"]);
  const empty = [first, { start: 0x10000n, pages: "..", pageSize: 2 * PAGE }];
  const behind = { start: 0x20000n, pages: "0" };
  assertEquals(
    merged([...small, behind], [...empty, behind]),
    [true, "0", "..", "0"],
  );
  const above = [first, { start: 0x12000n, pages: "0", pageSize: 2 * PAGE }];
  assertEquals(merged(small, above), [true, "0", "0"]);
});

Deno.test("first mappings with different starts are both left after their overlap", () => {
  // The first old mapping reaches two new ones; only the first gains its bits.
  assertEquals(
    merged(
      [{ start: 0x10000n, pages: "33333333" }, { start: 0x20000n, pages: "2" }],
      [
        { start: 0x11000n, pages: "00" },
        { start: 0x14000n, pages: "00" },
        { start: 0x20000n, pages: "0" },
      ],
    ),
    [true, "33", "00", "2"],
  );
  // And vice versa.
  assertEquals(
    merged(
      [{ start: 0x11000n, pages: "33" }, { start: 0x14000n, pages: "33" }],
      [{ start: 0x10000n, pages: "00000000" }],
    ),
    [true, "03300000"],
  );
});

Deno.test("first mappings with the same start are merged like all others", () => {
  assertEquals(
    merged(
      [{ start: 0x10000n, pages: "33333333" }],
      [{ start: 0x10000n, pages: "00" }, { start: 0x14000n, pages: "00" }],
    ),
    [true, "33", "33"],
  );
});

Deno.test("the schedctl page gains no bits and does not count as a change", () => {
  const schedctl = { start: 0x8000n, pages: "3", flags: SCHEDCTL_FLAGS };
  const mapping = { start: 0x10000n, pages: "1" };
  assertEquals(
    merged([schedctl, mapping], [{ ...schedctl, pages: "0" }, mapping]),
    [false, "0", "1"],
  );
  assertEquals(merged([schedctl, mapping], [mapping]), [false, "1"]);
  assertEquals(merged([mapping], [schedctl, mapping]), [false, "3", "1"]);
});
