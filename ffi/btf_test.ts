/**
 * Tests of reading BTF, on constructed bytes and on the running kernel.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { damagedBytes, fuzz } from "../tests/support/fuzzing.ts";
import { Btf, BtfError, BtfKind } from "./btf.ts";
import { libc } from "./libc.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

// Kinds of include/uapi/linux/btf.h that btf.ts does not name.
const INT = 1;
const POINTER = 2;
const FUNC_PROTO = 13;
const ENUM64 = 19;

/** A member of a struct: its name, type, and offset as encoded in BTF. */
type Member = readonly [name: string, type: number, offset: number];

/** Makes BTF type by type; ids count from 1. */
class BtfBuilder {
  #types: number[] = [];
  #strings = "\0";
  #ids = 0;

  /** @param words what follows the three words that every type has. */
  add(
    kind: number,
    name: string,
    { count = 0, flag = false, words = [] }: {
      count?: number;
      flag?: boolean;
      words?: readonly number[];
    } = {},
  ): number {
    const info = (flag ? 2 ** 31 : 0) + kind * 2 ** 24 + count;
    this.#types.push(this.#name(name), info, 0, ...words);
    return ++this.#ids;
  }

  addStruct(name: string, members: readonly Member[], kind = 4, flag = false) {
    const words = members.flatMap(([name, type, offset]) => [
      this.#name(name),
      type,
      offset,
    ]);
    return this.add(kind, name, { count: members.length, flag, words });
  }

  addEnum(name: string, members: readonly [name: string, value: number][]) {
    const words = members.flatMap(([name, value]) => [this.#name(name), value]);
    return this.add(BtfKind.ENUM, name, { count: members.length, words });
  }

  addSizedStruct(name: string, size: number, type: number) {
    const id = this.addStruct(name, [["member", type, 0]]);
    // The third of its words.
    this.#types[this.#types.length - 4] = size;
    return id;
  }

  #name(name: string): number {
    if (name === "") return 0;
    const offset = this.#strings.length;
    this.#strings += `${name}\0`;
    return offset;
  }

  bytes(headerSize = 24): Uint8Array<ArrayBuffer> {
    const types = this.#types.length * 4;
    const bytes = new Uint8Array(headerSize + types + this.#strings.length);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, 0xeb9f, true);
    view.setUint8(2, 1);
    const header = [headerSize, 0, types, types, this.#strings.length];
    for (const [i, word] of [...header, ...this.#types].entries()) {
      // The types follow the header, which may be longer than the fields known
      // here.
      const at = i < header.length ? 4 + i * 4 : headerSize + (i - 5) * 4;
      view.setUint32(at, word, true);
    }
    const strings = new TextEncoder().encode(this.#strings);
    bytes.set(strings, headerSize + types);
    return bytes;
  }
}

/** Types that cover everything that offsets depend on. */
function sample(): BtfBuilder {
  const builder = new BtfBuilder();
  const int = builder.add(INT, "int", { words: [0x20] });
  // Between them, types of other sizes, which the parser has to skip.
  builder.add(POINTER, "");
  builder.addEnum("colour", [["red", 3], ["blue", -1]]);
  builder.add(ENUM64, "large", { count: 1, words: [0, 0, 1] });
  const inner = builder.addStruct("", [["deep", int, 0], ["deeper", int, 32]]);
  const union = builder.addStruct("", [["", inner, 0], ["flat", int, 0]], 5);
  const named = builder.addStruct("named", [["hidden", int, 0]]);
  // Only a declaration: a struct without members.
  builder.addStruct("thing", []);
  builder.addStruct("thing", [
    ["first", int, 0],
    ["", union, 64],
    ["within", named, 128],
    ["last", int, 192],
    ["", int, 224],
  ]);
  // With sizes of bit fields in the upper byte of offsets.
  builder.addStruct("fields", [["narrow", int, 3 << 24 | 32]], 4, true);
  const proto = builder.add(FUNC_PROTO, "", { count: 1, words: [0, int] });
  assertEquals(proto, 11);
  builder.add(BtfKind.FUNC, "thing");
  builder.add(BtfKind.FUNC, "act");
  return builder;
}

Deno.test("offsets of members, including those in anonymous structs and unions", () => {
  const btf = Btf.parse(sample().bytes());
  const offsets = ["first", "deep", "deeper", "flat", "within", "last"]
    .map((member) => btf.offsetOf("thing", member));
  assertEquals(offsets, [0, 8, 12, 8, 16, 24]);
  assertEquals(btf.offsetOf("fields", "narrow"), 4);
});

Deno.test("sizes of structs and values of enums", () => {
  const builder = new BtfBuilder();
  const int = builder.add(INT, "int", { words: [0x20] });
  builder.addSizedStruct("sized", 64, int);
  builder.addEnum("colour", [["red", 3], ["blue", -1]]);
  const btf = Btf.parse(builder.bytes());
  assertEquals(btf.sizeOf("sized"), 64);
  assertEquals(btf.valueOf("colour", "red"), 3);
  assertEquals(btf.valueOf("colour", "blue"), -1);
  assertThrows(
    () => btf.valueOf("colour", "green"),
    BtfError,
    "this kernel's enum colour has no green",
  );
  assertThrows(() => btf.sizeOf("colour"), BtfError, "no struct colour");
});

Deno.test("ids are found by kind and name, and a declaration is not taken for the struct", () => {
  const btf = Btf.parse(sample().bytes());
  assertEquals(btf.idOf(BtfKind.STRUCT, "thing"), 9);
  assertEquals(btf.idOf(BtfKind.FUNC, "thing"), 12);
  assertEquals(btf.idOf(BtfKind.FUNC, "act"), 13);
});

Deno.test("the header may be longer than known, and the bytes may start anywhere", () => {
  const bytes = sample().bytes(32);
  const moved = new Uint8Array(bytes.length + 3);
  moved.set(bytes, 3);
  const btf = Btf.parse(moved.subarray(3));
  assertEquals(btf.offsetOf("thing", "last"), 24);
});

Deno.test("the error names what is missing", () => {
  const btf = Btf.parse(sample().bytes());
  const absent: [() => number, string][] = [
    [() => btf.idOf(BtfKind.STRUCT, "nothing"), "no struct nothing"],
    [() => btf.idOf(BtfKind.UNION, "thing"), "no union thing"],
    [() => btf.idOf(BtfKind.FUNC, "ac"), "no func ac"],
    [() => btf.idOf(BtfKind.FUNC, "action"), "no func action"],
    [() => btf.offsetOf("nothing", "first"), "no struct nothing"],
    [
      () => btf.offsetOf("thing", "hidden"),
      "this kernel's struct thing has no member hidden",
    ],
  ];
  for (const [look, message] of absent) assertThrows(look, BtfError, message);
});

Deno.test("anything but complete BTF is refused", () => {
  const bytes = sample().bytes();
  // Every length: cut in the header, in the types and in the strings.
  for (let length = 0; length < bytes.length; length++) {
    assertThrows(() => Btf.parse(bytes.slice(0, length)), BtfError);
  }
  const swapped = bytes.slice();
  swapped.set([0xeb, 0x9f]);
  assertThrows(() => Btf.parse(swapped), BtfError, "byte order");
  const unknown = new BtfBuilder();
  unknown.add(31, "future");
  assertThrows(() => Btf.parse(unknown.bytes()), BtfError, "unknown kind 31");
});

Deno.test("types that exceed their section, refer to missing types or form a circle are refused", () => {
  const long = new BtfBuilder();
  long.add(BtfKind.STRUCT, "long", { count: 100, words: [0, 0, 0] });
  assertThrows(() => Btf.parse(long.bytes()), BtfError);

  const nowhere = new BtfBuilder();
  nowhere.addStruct("nowhere", [["", 1000, 0]]);
  const lost = Btf.parse(nowhere.bytes());
  assertThrows(() => lost.offsetOf("nowhere", "member"), BtfError);

  const endless = new BtfBuilder();
  endless.addStruct("endless", [["", 1, 0]]);
  const turning = Btf.parse(endless.bytes());
  assertThrows(() => turning.offsetOf("endless", "member"), BtfError);
});

Deno.test("fuzz: damaged BTF causes no error but BtfError", () => {
  const builder = sample();
  // A few KiB of nested anonymous structs.
  for (let i = 0; i < 40; i++) {
    const members: Member[] = [["", 5, 0], ["", 6, 64], [`member${i}`, 1, 128]];
    builder.addStruct(i % 2 === 0 ? "" : `struct${i}`, members);
  }
  fuzz(damagedBytes(builder.bytes()), 15_000, (bytes) => {
    try {
      const btf = Btf.parse(bytes);
      for (const [struct, member] of [["thing", "last"], ["thing", "absent"]]) {
        const offset = btf.offsetOf(struct, member);
        assert(Number.isFinite(offset) && offset >= 0, `${offset}`);
      }
    } catch (error) {
      if (!(error instanceof BtfError)) throw error;
    }
  });
});

Deno.test("the running kernel describes the types that rcap needs", () => {
  const btf = Btf.ofKernel();
  assert(btf.idOf(BtfKind.FUNC, "bpf_iter_task") > 0);
  assert(btf.offsetOf("task_struct", "mm") > 0);
  assertEquals(
    btf.offsetOf("task_struct", "tgid"),
    btf.offsetOf("task_struct", "pid") + 4,
  );
  // In an anonymous struct, after other members.
  const pgd = btf.offsetOf("mm_struct", "pgd");
  assert(pgd > 0 && pgd < 4096 && pgd % 8 === 0, `pgd at ${pgd}`);
  assertThrows(() => btf.offsetOf("mm_struct", "no_such_member"), BtfError);
  assertThrows(() => btf.idOf(BtfKind.FUNC, "no_such_function"), BtfError);
});
