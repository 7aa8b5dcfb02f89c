/**
 * Tests of the BPF assembler against encodings that `llvm-objdump` shows.
 *
 * @module
 */

import { assertEquals, assertThrows } from "@std/assert";
import {
  add,
  and,
  assemble,
  call,
  exit,
  functionAt,
  jump,
  jumpIfAny,
  jumpIfEqual,
  jumpIfNotBelow,
  label,
  load32,
  load64,
  mapValue,
  move,
  moveWide,
  multiply,
  or,
  r0,
  r1,
  r10,
  r2,
  r6,
  r9,
  shiftLeft,
  shiftRight,
  type Statement,
  store16,
  store64,
  subtract,
  xor,
} from "./bpf_assembler.ts";

/** The code of statements in hexadecimal, one word per instruction. */
function code(...program: Statement[]): string {
  return assemble(program).toHex().replace(/.{16}(?=.)/g, "$& ");
}

Deno.test("every instruction has its encoding", () => {
  const cases: [Statement, string][] = [
    [move(r6, r1), "bf16000000000000"],
    [move(r0, 7), "b700000007000000"],
    [move(r9, -1), "b7090000ffffffff"],
    [add(r2, r10), "0fa2000000000000"],
    [add(r2, -16), "07020000f0ffffff"],
    [shiftLeft(r1, 12), "670100000c000000"],
    [load64(r1, r6, 8), "7961080000000000"],
    [load64(r1, r10, -8), "79a1f8ff00000000"],
    [load32(r0, r9, 4), "6190040000000000"],
    [store64(r10, -16, r1), "7b1af0ff00000000"],
    [mapValue(r9, 5), "1829000005000000 0000000000000000"],
    [subtract(r2, r1), "1f12000000000000"],
    [multiply(r9, 64), "2709000040000000"],
    [or(r1, 4096), "4701000000100000"],
    [and(r2, -512), "5702000000feffff"],
    [xor(r6, -1), "a7060000ffffffff"],
    [shiftRight(r1, 63), "770100003f000000"],
    [store16(r9, 8192, r1), "6b19002000000000"],
    [
      moveWide(r1, 0xf_ffff_ffff_f000n),
      "1801000000f0ffff 00000000ffff0f00",
    ],
    [call(113), "8500000071000000"],
    [exit(), "9500000000000000"],
  ];
  for (const [statement, bytes] of cases) assertEquals(code(statement), bytes);
});

Deno.test("jump offsets count instructions, forwards and backwards", () => {
  assertEquals(
    code(
      label("start"),
      jumpIfEqual(r1, 0, "end"),
      jumpIfNotBelow(r1, r2, "end"),
      jump("start"),
      label("end"),
      exit(),
    ),
    "1501020000000000 3d21010000000000 0500fdff00000000 9500000000000000",
  );
  assertEquals(
    code(jump("next"), label("next"), exit()).slice(0, 16),
    "05" + "0".repeat(14),
  );
});

Deno.test("a jump counts a 64-bit immediate as two instructions", () => {
  assertEquals(
    code(jump("end"), mapValue(r1, 3), label("end"), exit()).slice(0, 16),
    "0500020000000000",
  );
});

Deno.test("the error names a missing label", () => {
  assertThrows(() => assemble([jump("nowhere")]), RangeError, "nowhere");
});

Deno.test("an empty program is empty", () => {
  assertEquals(assemble([]).length, 0);
  assertEquals(assemble([label("alone")]).length, 0);
});

Deno.test("a test of bits jumps, and the address of a function is a distance", () => {
  assertEquals(
    code(jumpIfAny(r1, 257, "end"), exit(), label("end"), exit()),
    "4501010001010000 9500000000000000 9500000000000000",
  );
  assertEquals(
    code(functionAt(r2, "function"), exit(), label("function"), exit()),
    "1842000002000000 0000000000000000 9500000000000000 9500000000000000",
  );
});
