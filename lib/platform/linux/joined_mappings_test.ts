/**
 * Tests of joining the mappings of a process that has too many.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { MA_ANON, MA_READ, MA_WRITE } from "../../memory/mapping_flags.ts";
import { flagsOf, type LinuxMapping } from "./linux_mapping.ts";
import { SmapsParser } from "./smaps.ts";

const PAGE = 4096;
const encoder = new TextEncoder();

/** One mapping of an smaps text. */
interface Line {
  start: number;
  pages?: number;
  perm?: string;
  device?: string;
  name?: string;
  flags?: string;
}

/** Its text; every page is resident. */
function lineOf(
  { start, pages = 1, perm = "rw-p", device = "00:00", name = "", flags = "" }:
    Line,
): string {
  const hex = (page: number) => (page * PAGE).toString(16);
  return `${hex(start)}-${
    hex(start + pages)
  } ${perm} 00000000 ${device} 0  ${name}\nRss: ${
    pages * 4
  } kB\nVmFlags: rd wr ${flags}\n`;
}

/** Parses mappings and keeps at most this many. */
function parse(lines: Iterable<Line>, most: number): SmapsParser {
  const parser = new SmapsParser({ most, names: "kinds" });
  for (const line of lines) parser.push(encoder.encode(lineOf(line)));
  parser.end();
  return parser;
}

function* many(count: number, make: (index: number) => Line): Generator<Line> {
  for (let index = 0; index < count; index++) yield make(index);
}

function pagesOf({ start, end }: LinuxMapping): [number, number] {
  return [Number(start) / PAGE, Number(end) / PAGE];
}

Deno.test("few mappings are kept as they are", () => {
  const { joined } = parse(many(100, (start) => ({ start: start + 1 })), 100);
  assertEquals(joined.found, 100);
  assertEquals(joined.areJoined, false);
  assertEquals(joined.mappings.length, 100);
});

Deno.test("neighbours of too many mappings are joined, and their figures added", () => {
  const { joined } = parse(
    many(65_000, (index) => ({
      start: 16 + index,
      perm: index % 2 ? "rw-p" : "r--p",
    })),
    1000,
  );
  assertEquals(joined.found, 65_000);
  assertEquals(joined.leftOut, 0);
  assert(joined.areJoined);
  // Mappings kept before the limit was reached are joined, too.
  const [mapping, ...others] = joined.mappings;
  assertEquals(others, []);
  assertEquals(pagesOf(mapping), [16, 16 + 65_000]);
  assertEquals(mapping.rss, 65_000 * PAGE);
  assertEquals(flagsOf(mapping), MA_READ | MA_WRITE | MA_ANON);
});

Deno.test("they are joined over holes, small ones first", () => {
  const small = parse(many(3000, (index) => ({ start: 2 * index })), 1000);
  assertEquals(small.joined.mappings.map(pagesOf), [[0, 5999]]);
  // Two distant clusters, which need not be joined.
  const far = parse(
    many(3000, (index) => ({
      start: 2 * index + (index < 1500 ? 0 : 2 ** 30),
    })),
    1000,
  );
  assertEquals(far.joined.mappings.length, 2);
  const sparse = parse(many(3000, (index) => ({ start: index * 4096 })), 1000);
  assert(sparse.joined.mappings.length <= 1000);
  assertEquals(sparse.joined.leftOut, 0);
});

Deno.test("similar mappings are joined before different ones", () => {
  const library = { name: "/usr/lib/libc.so", device: "fe:01", perm: "r--p" };
  const { joined } = parse([
    { start: 1, ...library },
    { start: 2, ...library, name: "/usr/lib/other.so" },
    { start: 3, ...library, perm: "rw-p" },
    { start: 4, ...library, device: "fe:02" },
    { start: 5, name: "/memfd:x (deleted)", perm: "rw-s" },
    { start: 6 },
    { start: 7 },
    { start: 8, perm: "---p" },
  ], 5);
  assertEquals(
    joined.mappings.map((mapping) => [...pagesOf(mapping), mapping.name]),
    [[1, 3, "/"], [3, 4, "/"], [4, 5, "/"], [5, 6, "/memfd:"], [6, 9, ""]],
  );
});

Deno.test("mappings that the kernel refuses are not joined with others", () => {
  for (
    const [flags, name] of [["lo", ""], ["ht", ""], ["pf", ""], ["io", ""], [
      "",
      "[vdso]",
    ]]
  ) {
    const { joined } = parse(
      many(
        40,
        (start) => start % 4 === 3 ? { start, flags, name } : { start },
      ),
      20,
    );
    assertEquals(joined.mappings.length, 20, flags);
    assertEquals(joined.leftOut, 0, flags);
  }
});

Deno.test("alternating anonymous memory and files are joined and count as a file", () => {
  const { joined } = parse(
    many(
      5000,
      (start) =>
        start % 2
          ? { start }
          : { start, name: `/tmp/${start}`, device: "fe:01", perm: "r--s" },
    ),
    100,
  );
  const [{ name, device, perm, rss }, ...others] = joined.mappings;
  assertEquals(others, []);
  assertEquals({ name, device, perm }, { name: "/", device: "", perm: "rw-s" });
  assertEquals(rss, 5000 * PAGE);
});

Deno.test("mappings beyond the limit that cannot be joined are left out and counted", () => {
  const { joined } = parse(
    many(300, (start) => ({ start, flags: start % 2 ? "lo" : "" })),
    100,
  );
  assertEquals(joined.mappings.length, 100);
  assertEquals(joined.leftOut, 200);
  assertEquals(joined.found, 300);
});

Deno.test("[vsyscall], in the kernel's half, stays alone", () => {
  const parser = new SmapsParser({ most: 2, names: "kinds" });
  parser.push(encoder.encode(`00001000-00002000 r--p 0 00:00 0 [vvar]
00003000-00004000 r-xp 0 00:00 0 [vdso]
ffffffffff600000-ffffffffff601000 --xp 0 00:00 0 [vsyscall]
`));
  assertEquals(parser.end().map(({ name }) => name), ["[vvar]", "[vsyscall]"]);
});

Deno.test("addresses of all 64 bits are exact", () => {
  const parser = new SmapsParser();
  parser.push(
    encoder.encode(
      "00fffffffffff000-0100000000000000 rw-p 0 00:00 0\nffffffffff600000-ffffffffff601000 --xp 0 00:00 0 [vsyscall]\n",
    ),
  );
  assertEquals(parser.end().map(({ start, end }) => [start, end]), [
    [0x00ff_ffff_ffff_f000n, 0x0100_0000_0000_0000n],
    [0xffff_ffff_ff60_0000n, 0xffff_ffff_ff60_1000n],
  ]);
});
