/**
 * Tests of parsing smaps and maps.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { File } from "../../../ffi/file.ts";
import { OwnMemory } from "../../../ffi/testing.ts";
import type { LinuxMapping } from "./linux_mapping.ts";
import { parseSmaps } from "./testing.ts";

const KIB = 1024;

function parse(text: string): LinuxMapping[] {
  return parseSmaps(new TextEncoder().encode(text));
}

/** All lines below a header in smaps, as Linux 6.18 writes them. */
const FIGURES = `Size:               5000 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                4000 kB
Pss:                3000 kB
Pss_Dirty:          2000 kB
Shared_Clean:        100 kB
Shared_Dirty:         20 kB
Private_Clean:      1000 kB
Private_Dirty:      2880 kB
Referenced:         1234 kB
Anonymous:           900 kB
KSM:                   0 kB
LazyFree:              0 kB
AnonHugePages:         0 kB
ShmemPmdMapped:        0 kB
FilePmdMapped:         0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:       0 kB
Swap:                 64 kB
SwapPss:              32 kB
Locked:                8 kB
THPeligible:           0
ProtectionKey:         0
VmFlags: rd wr mr mw me ac sd 
`;

Deno.test("a mapping with all its figures", () => {
  const [mapping, ...others] = parse(
    `7f30c8000000-7f30c84e2000 rw-p 00100000 fe:01 131234                     /usr/lib/libc.so.6\n${FIGURES}`,
  );
  assertEquals(others, []);
  assertEquals(mapping, {
    start: 0x7f30_c800_0000n,
    end: 0x7f30_c84e_2000n,
    perm: "rw-p",
    device: "fe:01",
    name: "/usr/lib/libc.so.6",
    pageSize: 4 * KIB,
    rss: 4000 * KIB,
    own: 3880 * KIB,
    proportional: 3000 * KIB,
    dirty: 2900 * KIB,
    referenced: 1234 * KIB,
    anonymous: 900 * KIB,
    swap: 64 * KIB,
    locked: 8 * KIB,
    flags: new Set(["rd", "wr", "mr", "mw", "me", "ac", "sd"]),
  });
});

Deno.test("hugetlb mappings have their own page size", () => {
  const [{ pageSize, flags }] = parse(
    `7f0000000000-7f0000400000 rw-p 00000000 00:0f 1 /anon_hugepage (deleted)\nKernelPageSize:     2048 kB\nVmFlags: rd wr ht \n`,
  );
  assertEquals(pageSize, 2048 * KIB);
  assert(flags.has("ht"));
});

Deno.test("names are those of the kernel, including newlines", () => {
  const names: Record<string, string> = {
    "": "",
    "[heap]": "[heap]",
    "[anon:a name]": "[anon:a name]",
    "/tmp/a  b": "/tmp/a  b",
    "/tmp/a b (deleted)": "/tmp/a b (deleted)",
    "/tmp/two\\012lines\\012": "/tmp/two\nlines\n",
    "/tmp/größe": "/tmp/größe",
    // Names that look like a header, or like a figure.
    "/tmp/00400000-00500000 r--p 00000000 00:00 0":
      "/tmp/00400000-00500000 r--p 00000000 00:00 0",
    "/tmp/Rss: 4 kB": "/tmp/Rss: 4 kB",
  };
  for (const [written, name] of Object.entries(names)) {
    // The kernel pads to column 73, and writes no padding without a name.
    const head = "00400000-00500000 r--s 00000000 00:2a 17".padEnd(
      written ? 73 : 0,
    );
    const [mapping] = parse(`${head}${written}\nRss:   4 kB\n`);
    assertEquals({ name: mapping.name, rss: mapping.rss }, { name, rss: 4096 });
  }
});

Deno.test("a mapping that overlaps the one before it is left out, with its figures", () => {
  const mappings = parse(`00400000-00500000 r--p 0 00:00 0
Rss:   4 kB
00480000-00600000 r--p 0 00:00 0
Rss:   8 kB
Swap:  8 kB
VmFlags: lo 
00300000-00310000 r--p 0 00:00 0
Rss:   16 kB
00500000-00600000 rw-p 0 00:00 0
Rss:   32 kB
`);
  const figures = mappings.map(({ start, rss, swap, flags }) => ({
    start,
    rss,
    swap,
    flags: flags.size,
  }));
  assertEquals(figures, [
    { start: 0x400000n, rss: 4 * KIB, swap: 0, flags: 0 },
    { start: 0x500000n, rss: 32 * KIB, swap: 0, flags: 0 },
  ]);
});

Deno.test("maps is parsed too, with figures of 0", () => {
  const mappings = parse(
    `55d0c0000000-55d0c0001000 r-xp 00000000 fe:01 131234                     /usr/bin/perl
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]`,
  );
  assertEquals(
    mappings.map(({ name, perm, rss, flags }) => [name, perm, rss, flags.size]),
    [
      ["/usr/bin/perl", "r-xp", 0, 0],
      ["[stack]", "rw-p", 0, 0],
      ["[vsyscall]", "--xp", 0, 0],
    ],
  );
  assertEquals(mappings[2].end, 0xffff_ffff_ff60_1000n);
});

Deno.test("an empty text has no mappings, and other texts are rejected", () => {
  assertEquals(parse(""), []);
  assertThrows(
    () => parse("0123 not a mapping\n"),
    SyntaxError,
    "not a line of maps: 0123",
  );
});

Deno.test("smaps and maps of this process list the same memory", () => {
  using memory = new OwnMemory(8);
  memory.write(2, 3);
  for (const name of ["smaps", "maps"]) {
    using file = File.open(`/proc/self/${name}`);
    const mapping = parseSmaps(file.readAll()).find(({ start }) =>
      start === memory.start
    );
    assertEquals(mapping?.end, memory.end);
    assertEquals(mapping?.perm, "rw-p");
    assertEquals(mapping?.rss, name === "smaps" ? 3 * memory.pageSize : 0);
  }
});

Deno.test("10,000 mappings are parsed about as fast as they are read", () => {
  using memory = new OwnMemory(10_000);
  memory.write(0, memory.pages);
  memory.split();
  let best = Infinity;
  for (let turn = 0; turn < 5; turn++) {
    using file = File.open("/proc/self/smaps");
    const began = performance.now();
    const text = file.readAll();
    const read = performance.now();
    const mappings = parseSmaps(text);
    const parsed = performance.now();
    best = Math.min(best, (parsed - read) / (read - began));
    const own = mappings.filter(({ start }) =>
      memory.start <= start && start < memory.end
    );
    assertEquals(own.length, 10_000);
    assert(own.every(({ rss }) => rss === memory.pageSize));
  }
  // Compare with the time that the kernel takes to write the text, so the test fits
  // any machine.
  assert(best < 20, `${best.toFixed(1)} times as long`);
});
