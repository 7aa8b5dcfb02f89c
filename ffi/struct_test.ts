/**
 * Tests of the tables of C structures and of their reader.
 *
 * @module
 */

import { assertEquals, assertThrows } from "@std/assert";
import {
  defineStruct,
  MalformedData,
  type Struct,
  StructReader,
} from "./struct.ts";

const EXAMPLE = defineStruct({
  name: "example_t",
  size: 40,
  fields: {
    small: [0, "i32"],
    unsigned: [4, "u32"],
    signed: [8, "i64"],
    large: [16, "u64"],
    words: [24, { text: 8 }],
  },
});

/** A reader of one structure, whose bytes a function sets. */
function reader(fill: (view: DataView, bytes: Uint8Array) => void) {
  const bytes = new Uint8Array(48);
  fill(new DataView(bytes.buffer, 8), bytes.subarray(8));
  const result = new StructReader(EXAMPLE, bytes);
  result.moveTo(8);
  return result;
}

Deno.test("fields are read by offset and kind, little-endian", () => {
  const example = reader((view, bytes) => {
    view.setInt32(0, -2, true);
    view.setUint32(4, 0xffff_fffe, true);
    view.setBigInt64(8, -3n, true);
    view.setBigUint64(16, 0xffff_ffff_ffff_fff0n, true);
    bytes.set(new TextEncoder().encode("né\0xx"), 24);
  });
  assertEquals(example.number("small"), -2);
  assertEquals(example.number("unsigned"), 0xffff_fffe);
  assertEquals(example.number("signed"), -3);
  assertEquals(example.bigint("large"), 0xffff_ffff_ffff_fff0n);
  assertEquals(example.text("words"), "né");
});

Deno.test("a text may fill its field without a zero byte", () => {
  const example = reader((_, bytes) => bytes.fill(0x41));
  assertEquals(example.text("words"), "AAAAAAAA");
});

Deno.test("inexact numbers and impossible counts are refused", () => {
  const example = reader((view) => {
    view.setInt32(0, -1, true);
    view.setBigUint64(16, 2n ** 63n, true);
  });
  assertThrows(
    () => example.number("large"),
    MalformedData,
    "example_t.large is out of range",
  );
  assertThrows(
    () => example.count("small", 10),
    MalformedData,
    "example_t.small is -1, which is not between 0 and 10",
  );
  assertThrows(() => example.count("large", 10), MalformedData);
});

Deno.test("a structure must end within the bytes", () => {
  const example = reader(() => {});
  for (const at of [-1, 9, 48, 1e9]) {
    assertThrows(
      () => example.moveTo(at),
      MalformedData,
      "does not end within",
    );
  }
});

Deno.test("a table that cannot be right is refused", () => {
  const name = "t";
  const tables: Struct[] = [
    { name, size: 8, fields: { a: [0, "i32"], b: [2, "i32"] } },
    { name, size: 8, fields: { a: [4, "i64"] } },
    { name, size: 16, fields: { a: [4, "i64"] } },
    { name, size: 8, fields: { a: [4, { text: 5 }] } },
    { name, size: 12, fields: { a: [0, "i32"] } },
  ];
  for (const table of tables) {
    assertThrows(() => defineStruct(table), RangeError);
  }
});
