/**
 * Tests of the decoders of illumos's `/proc`, with valid and with hostile data.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  PG_HWMAPPED,
  PRASMAP,
  PRPAGEHEADER,
  PRXMAP,
  PSINFO,
} from "../../../ffi/illumos_structs.ts";
import { MalformedData } from "../../../ffi/struct.ts";
import { MODIFIED, REFERENCED } from "../../memory/pagedata.ts";
import { decodePagedata } from "./pagedata_file.ts";
import { decodePsinfo } from "./psinfo_file.ts";
import {
  encodePagedata,
  encodePsinfo,
  encodeXmap,
  type PagedataExample,
} from "./testing.ts";
import { decodeXmap } from "./xmap_file.ts";
import { say } from "../../../tests/support/say.ts";

/** How many hostile inputs each decoder gets. */
const CASES = 50_000;

const FLAGS = 0x07;
const MAPPINGS: readonly PagedataExample[] = [
  {
    start: 0x1000n,
    pageSize: 4096,
    flags: FLAGS,
    bits: Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7, 0xff),
  },
  {
    start: 0x20_0000n,
    pageSize: 2 ** 21,
    flags: 0x4f,
    bits: Uint8Array.of(2),
  },
  {
    start: 0xffff_ffff_ffff_e000n,
    pageSize: 8192,
    flags: 0,
    bits: Uint8Array.of(1),
  },
];

Deno.test("pagedata is decoded, with the bits that the scanner knows", () => {
  const pagedata = decodePagedata(encodePagedata(MAPPINGS));
  assertEquals(
    pagedata.mappings.map(({ start, pages, pageSize, flags }) => [
      start,
      pages,
      pageSize,
      flags,
    ]),
    MAPPINGS.map(({ start, bits, pageSize, flags }) => [
      start,
      bits.length,
      pageSize,
      flags,
    ]),
  );
  assertEquals([...pagedata.bits], [0, 1, 2, 3, 0, 1, 2, 3, 3, 2, 1]);
  assertEquals([...pagedata.runOffset], [0, 9, 10, 11]);
  assertEquals([...pagedata.runPage], [0, 0, 0]);
});

Deno.test("other bits are kept on request", () => {
  const bits = REFERENCED | MODIFIED | PG_HWMAPPED;
  const pagedata = decodePagedata(encodePagedata(MAPPINGS), bits);
  assertEquals([...pagedata.bits], [0, 1, 2, 3, 4, 5, 6, 7, 7, 2, 1]);
});

Deno.test("the padding after the last mapping may be missing", () => {
  const file = encodePagedata(MAPPINGS.slice(0, 1));
  for (let left = 0; left <= 7; left++) {
    const cut = file.slice(0, file.length - left);
    if (left === 0 || left === 7) {
      assertEquals(decodePagedata(cut).bits.length, 9);
    } else assertThrows(() => decodePagedata(cut), MalformedData);
  }
});

Deno.test("an address space without mappings is valid", () => {
  assertEquals(decodePagedata(encodePagedata([])).mappings, []);
  assertEquals(decodeXmap(encodeXmap([])), []);
});

Deno.test("xmap is decoded", () => {
  const entry = {
    start: 0x7fff_ffff_0000_0000n,
    bytes: 5 * 4096,
    pageSize: 4096,
    flags: 0x47,
    resident: 4,
    anonymous: 3,
    locked: 2,
    object: "a.out",
  };
  const other = { ...entry, start: entry.start + 2n ** 20n, object: "" };
  assertEquals(decodeXmap(encodeXmap([entry, other])), [entry, other]);
});

Deno.test("psinfo is decoded", () => {
  const psinfo = decodePsinfo(encodePsinfo({
    pr_nlwp: 3,
    pr_pid: 42,
    pr_ppid: 7,
    pr_uid: 4294967294,
    pr_size: 2048,
    pr_rssize: 1024,
    pr_start_sec: 1_700_000_000,
    pr_start_nsec: 123_456_789,
    pr_fname: "a_name_of_15_ch",
    pr_psargs: "./a.out -x",
    pr_argv: 0x7fff_0000_0000_1000n,
    pr_projid: 100,
    pr_zoneid: 5,
  }));
  const { layout, ...rest } = psinfo;
  assertEquals(rest, {
    pid: 42,
    ppid: 7,
    comm: "a_name_of_15_ch",
    startTime: 1_700_000_000_123_456,
    isSystem: false,
    isZombie: false,
    mainThreadExited: false,
    rss: 2 ** 20,
    image: 2 ** 21,
    majorFaults: 0,
    uid: 4294967294,
    projectId: 100,
    zoneId: 5,
  });
  assert(layout.includes("./a.out -x"));
});

Deno.test("another program has another layout; zombies and system processes are recognised", () => {
  const values = { pr_nlwp: 1, pr_pid: 1, pr_size: 8, pr_fname: "a" };
  const of = (other: Parameters<typeof encodePsinfo>[0]) =>
    decodePsinfo(encodePsinfo({ ...values, ...other }));
  const { layout } = of({});
  for (
    const other of [
      { pr_fname: "b" },
      { pr_psargs: "b" },
      { pr_argv: 1 },
      { pr_envp: 1 },
    ]
  ) assert(of(other).layout !== layout);
  assertEquals(of({ pr_rssize: 5, pr_start_sec: 5 }).layout, layout);
  const kind = ({ isSystem, isZombie }: ReturnType<typeof of>) => ({
    isSystem,
    isZombie,
  });
  assertEquals(kind(of({})), { isSystem: false, isZombie: false });
  assertEquals(kind(of({ pr_nlwp: 0, pr_size: 0 })), {
    isSystem: false,
    isZombie: true,
  });
  assertEquals(kind(of({ pr_size: 0 })), { isSystem: true, isZombie: false });
});

Deno.test("impossible figures are rejected, and the message names them", () => {
  const page = Uint8Array.of(0);
  const example = { start: 0x1000n, pageSize: 4096, flags: 0, bits: page };
  const spoiled = (
    file: Uint8Array,
    at: number,
    value: bigint | number,
  ): Uint8Array => {
    const view = new DataView(file.buffer);
    if (typeof value === "bigint") view.setBigInt64(at, value, true);
    else view.setInt32(at, value, true);
    return file;
  };
  const [map] = [PRPAGEHEADER.size];
  const { pr_nmap, pr_npage } = PRPAGEHEADER.fields;
  const fields = PRASMAP.fields;
  const pagedata = () => encodePagedata([example]);
  const cases: [file: Uint8Array, message: string][] = [
    [spoiled(pagedata(), pr_nmap[0], -1n), "pr_nmap is -1"],
    [spoiled(pagedata(), pr_nmap[0], 2n), "pr_nmap is 2"],
    [spoiled(pagedata(), pr_nmap[0], 2n ** 62n), "pr_nmap is out of range"],
    [spoiled(pagedata(), pr_nmap[0], 0n), "but there are 0 pages"],
    [spoiled(pagedata(), pr_npage[0], -1n), "pr_npage is -1"],
    [spoiled(pagedata(), pr_npage[0], 2n), "pr_npage is 2, but there are 1"],
    [spoiled(pagedata(), map + fields.pr_npage[0], 0n), "pr_npage is 0"],
    [spoiled(pagedata(), map + fields.pr_npage[0], 9n), "pr_npage is 9"],
    [spoiled(pagedata(), map + fields.pr_npage[0], -1n), "out of range"],
    [spoiled(pagedata(), map + fields.pr_pagesize[0], 0), "pr_pagesize is 0"],
    [spoiled(pagedata(), map + fields.pr_pagesize[0], -8), "pr_pagesize is -8"],
    [spoiled(pagedata(), map + fields.pr_pagesize[0], 12), "pr_pagesize is 12"],
    [spoiled(pagedata(), map + fields.pr_vaddr[0], -1n), "out of order"],
    [encodePagedata([example, example]), "out of order"],
    [encodePagedata([{ ...example, start: 1n }, example]), "out of order"],
    [pagedata().slice(0, 31), "does not end within 31 bytes"],
    [pagedata().slice(0, 0), "does not end within 0 bytes"],
    [new Uint8Array([...pagedata(), 0]), "its mappings end at"],
    [new Uint8Array([...pagedata(), ...new Uint8Array(8)]), "end at"],
  ];
  for (const [file, message] of cases) {
    assertThrows(() => decodePagedata(file), MalformedData, message);
  }

  const entry = {
    start: 0x1000n,
    bytes: 8192,
    pageSize: 4096,
    flags: 0,
    resident: 0,
    anonymous: 0,
  };
  const xmap = (at: number, value: bigint | number) =>
    spoiled(encodeXmap([entry]), at, value);
  const x = PRXMAP.fields;
  const xmaps: [file: Uint8Array, message: string][] = [
    [new Uint8Array(215), "xmap has 215 bytes, which is not a multiple of 216"],
    [new Uint8Array(217), "xmap has 217 bytes"],
    [xmap(x.pr_rss[0], -1n), "pr_rss is out of range"],
    [xmap(x.pr_rss[0], 3n), "pr_rss is 3, which is not between 0 and 2"],
    [xmap(x.pr_anon[0], 3n), "pr_anon is 3"],
    [xmap(x.pr_locked[0], 2n ** 40n), "pr_locked is 1099511627776"],
    [xmap(x.pr_size[0], -1n), "pr_size is out of range"],
    [xmap(x.pr_vaddr[0], -4096n), "out of order"],
    [xmap(x.pr_pagesize[0], 3), "pr_pagesize is 3"],
    [encodeXmap([entry, entry]), "out of order"],
  ];
  for (const [file, message] of xmaps) {
    assertThrows(() => decodeXmap(file), MalformedData, message);
  }

  const p = PSINFO.fields;
  const psinfo = (at: number, value: bigint | number) =>
    spoiled(encodePsinfo({ pr_nlwp: 1 }), at, value);
  const psinfos: [file: Uint8Array, message: string][] = [
    [new Uint8Array(415), "psinfo has 415 bytes, not 416"],
    [new Uint8Array(417), "psinfo has 417 bytes"],
    [psinfo(p.pr_nlwp[0], -1), "pr_nlwp is -1"],
    [psinfo(p.pr_pid[0], -1), "pr_pid is -1"],
    [psinfo(p.pr_size[0], -1n), "pr_size is out of range"],
    [psinfo(p.pr_rssize[0], 2n ** 44n), "pr_rssize is 17592186044416"],
    [psinfo(p.pr_start_sec[0], -1n), "pr_start_sec is -1"],
    [psinfo(p.pr_start_nsec[0], 2n ** 32n), "pr_start_nsec is 4294967296"],
  ];
  for (const [file, message] of psinfos) {
    assertThrows(() => decodePsinfo(file), MalformedData, message);
  }
});

/** Random numbers, the same in every run. */
class Random {
  #state = 0x9e37_79b9;

  /** A whole number below a limit: xorshift32. */
  below(limit: number): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state >>> 0;
    return this.#state % limit;
  }
}

/** Numbers at typical limits. */
const NASTY = [
  0n,
  1n,
  -1n,
  7n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n,
  2n ** 53n,
  2n ** 63n - 1n,
  -(2n ** 63n),
];

/** Random bytes, or a corrupted valid file. */
function hostile(random: Random, valid: () => Uint8Array): Uint8Array {
  if (random.below(4) === 0) {
    const noise = new Uint8Array(random.below(700));
    for (let at = 0; at < noise.length; at++) noise[at] = random.below(256);
    return noise;
  }
  let file = valid();
  const view = new DataView(file.buffer);
  for (let change = random.below(4); change > 0; change--) {
    const at = random.below(Math.max(1, file.length / 8 - 1)) * 8;
    if (file.length < 16) break;
    switch (random.below(3)) {
      case 0:
        view.setBigInt64(at, NASTY[random.below(NASTY.length)], true);
        break;
      case 1:
        view.setInt32(at + 4, Number(NASTY[random.below(6)]), true);
        break;
      case 2:
        file[at + random.below(8)] = random.below(256);
    }
  }
  if (random.below(3) === 0) {
    file = file.slice(0, random.below(file.length + 1));
  }
  if (random.below(8) === 0) {
    const longer = new Uint8Array(file.length + random.below(300));
    longer.set(file);
    file = longer;
  }
  return file;
}

/** A valid pagedata with some mappings. */
function anyPagedata(random: Random): Uint8Array {
  let start = 0n;
  const mappings = Array.from({ length: random.below(5) }, () => {
    start += BigInt(1 + random.below(1000)) * 4096n;
    const bits = new Uint8Array(1 + random.below(20));
    for (let at = 0; at < bits.length; at++) bits[at] = random.below(8);
    const mapping = { start, pageSize: 4096, flags: random.below(16), bits };
    start += BigInt(bits.length) * 4096n;
    return mapping;
  });
  return encodePagedata(mappings);
}

/** A valid xmap with some mappings. */
function anyXmap(random: Random): Uint8Array {
  let start = 0n;
  const mappings = Array.from({ length: random.below(4) }, () => {
    start += BigInt(1 + random.below(1000)) * 4096n;
    const pages = random.below(50);
    const bytes = pages * 4096;
    const resident = random.below(pages + 1);
    const entry = {
      start,
      bytes,
      pageSize: 4096,
      flags: random.below(16),
      resident,
      anonymous: random.below(resident + 1),
    };
    start += BigInt(bytes);
    return entry;
  });
  return encodeXmap(mappings);
}

/** Runs a decoder on hostile inputs; counts the results by message. */
function fuzz<T>(
  decode: (file: Uint8Array) => T,
  { valid, check }: {
    valid: (random: Random) => Uint8Array;
    check: (decoded: T, size: number) => void;
  },
): { decoded: number; refused: number } {
  const random = new Random();
  const counts = { decoded: 0, refused: 0 };
  for (let index = 0; index < CASES; index++) {
    const file = hostile(random, () => valid(random));
    const size = file.length;
    let decoded: T;
    try {
      decoded = decode(file);
    } catch (error) {
      if (!(error instanceof MalformedData)) throw error;
      counts.refused++;
      continue;
    }
    check(decoded, size);
    counts.decoded++;
  }
  return counts;
}

/** Asserts that some hostile inputs were accepted and some rejected. */
function report(
  what: string,
  { decoded, refused }: { decoded: number; refused: number },
): void {
  say(`${what}: ${refused} inputs refused, ${decoded} decoded`);
  assert(refused > CASES / 4 && decoded > CASES / 50);
}

Deno.test("hostile pagedata gives a typed error or consistent pagedata", () => {
  const counts = fuzz((file) => decodePagedata(file), {
    valid: anyPagedata,
    check({ mappings, bits, runOffset, runPage }, size) {
      const pages = mappings.reduce((sum, { pages }) => sum + pages, 0);
      assertEquals(bits.length, pages);
      assertEquals(runOffset.at(-1) ?? 0, pages);
      assert(bits.every((byte) => byte <= 3));
      // Nothing is larger than the input.
      assert(bits.length <= size);
      assert(runOffset.byteLength + runPage.byteLength <= size);
      let end = 0n;
      for (const mapping of mappings) {
        assert(mapping.start >= end);
        end = mapping.start + BigInt(mapping.pages * mapping.pageSize);
      }
      assert(end <= 2n ** 64n);
    },
  });
  report("pagedata", counts);
});

Deno.test("hostile xmaps give a typed error or consistent entries", () => {
  const counts = fuzz(decodeXmap, {
    valid: anyXmap,
    check(entries, size) {
      assertEquals(entries.length, size / PRXMAP.size);
      for (const { bytes, resident, anonymous, locked } of entries) {
        const most = Math.ceil(bytes / 4096);
        assert([resident, anonymous, locked].every((count) => count <= most));
      }
    },
  });
  report("xmap", counts);
});

Deno.test("hostile psinfos give a typed error or possible figures", () => {
  const valid = () =>
    encodePsinfo({ pr_nlwp: 1, pr_pid: 42, pr_size: 8, pr_fname: "a" });
  const counts = fuzz(decodePsinfo, {
    valid,
    check({ pid, rss, image, startTime }) {
      const figures = [pid, rss, image, startTime];
      assert(
        figures.every((figure) => Number.isSafeInteger(figure) && figure >= 0),
      );
    },
  });
  report("psinfo", counts);
});
