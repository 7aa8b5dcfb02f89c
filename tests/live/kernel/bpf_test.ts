/**
 * Tests of BPF maps, programs and iterators on the running kernel; they require
 * root.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  BPF_PROBE_READ_KERNEL,
  BPF_SEQ_WRITE,
  BpfError,
  Iterator,
  SharedMap,
  SyscallProgram,
} from "../../../ffi/bpf.ts";
import {
  add,
  call,
  exit,
  jumpIfEqual,
  label,
  load32,
  load64,
  mapValue,
  move,
  r0,
  r1,
  r10,
  r2,
  r3,
  r6,
  r7,
  type Statement,
  store64,
} from "../../../ffi/bpf_assembler.ts";
import { Btf, BtfKind } from "../../../ffi/btf.ts";
import { readDirectory } from "../../../ffi/file.ts";
import { Errno, libc } from "../../../ffi/libc.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

const PAGE = 4096;

/** Runs a test and asserts that it leaves neither BPF descriptors nor mappings. */
function closingAll(test: () => void): () => void {
  return () => {
    const open = () => ({
      descriptors: readDirectory("/proc/self/fd").length,
      mappings:
        Deno.readTextFileSync("/proc/self/maps").split("bpf-map").length,
    });
    const before = open();
    test();
    assertEquals(open(), before);
  };
}

/** A program that writes its context plus one into a map. */
function storeContext(map: SharedMap): Statement[] {
  return [
    load64(r6, r1, 0),
    add(r6, 1),
    mapValue(r1, map.fd),
    store64(r1, 8, r6),
    move(r0, 0),
    exit(),
  ];
}

/** Returns r0 without setting it, which the verifier rejects. */
const BAD: readonly Statement[] = [exit()];

Deno.test(
  "a program writes into a map that this process has mapped",
  closingAll(() => {
    using map = new SharedMap(2 * PAGE);
    using program = new SyscallProgram("store", storeContext(map));
    const values = new BigUint64Array(map.memory);
    assertEquals(map.memory.byteLength, 2 * PAGE);
    assertEquals(values.every((value) => value === 0n), true);
    for (const context of [0, 41, 2 ** 40]) {
      program.run(context);
      assertEquals(values[1], BigInt(context) + 1n);
    }
  }),
);

Deno.test(
  "a program reads what we wrote into the map; unreadable memory yields zeros",
  closingAll(() => {
    using map = new SharedMap(PAGE);
    // Copies 8 bytes from the address in the first word to the second.
    using program = new SyscallProgram("copy", [
      mapValue(r6, map.fd),
      load64(r3, r6, 0),
      move(r1, r6),
      add(r1, 8),
      move(r2, 8),
      call(BPF_PROBE_READ_KERNEL),
      move(r0, 0),
      exit(),
    ]);
    const values = new BigUint64Array(map.memory);
    for (const address of [0n, 8n, 0xdead_0000_0000_0000n, 2n ** 64n - 8n]) {
      values[0] = address;
      values[1] = 1234n;
      program.run(0);
      assertEquals(values[1], 0n, `0x${address.toString(16)}`);
    }
  }),
);

Deno.test(
  "an iterator lists every task, each time it is read",
  closingAll(() => {
    const btf = Btf.ofKernel();
    using iterator = new Iterator("tasks", [
      move(r6, r1),
      load64(r7, r6, 8),
      jumpIfEqual(r7, 0, "done"),
      load32(r1, r7, btf.offsetOf("task_struct", "tgid")),
      store64(r10, -8, r1),
      load64(r1, r6, 0),
      load64(r1, r1, 0),
      move(r2, r10),
      add(r2, -8),
      move(r3, 8),
      call(BPF_SEQ_WRITE),
      label("done"),
      move(r0, 0),
      exit(),
    ], btf.idOf(BtfKind.FUNC, "bpf_iter_task"));
    for (let i = 0; i < 3; i++) {
      const records = new BigUint64Array(iterator.readAll().slice().buffer);
      assert(records.includes(BigInt(Deno.ppid)), "its parent is not there");
      assert(records.includes(BigInt(Deno.pid)), "this process is not there");
    }
  }),
);

Deno.test(
  "the error of a rejected program contains the verifier's log",
  closingAll(() => {
    const error = assertThrows(
      () => new SyscallProgram("bad", BAD),
      BpfError,
      "load program bad: ",
    );
    assertStringIncludes(error.message, "R0 !read_ok");
    assert(error.errno === Errno.EACCES || error.errno === Errno.EINVAL);
    const btf = Btf.ofKernel();
    const id = btf.idOf(BtfKind.FUNC, "bpf_iter_task");
    const iterator = () => new Iterator("worse", BAD, id);
    const other = assertThrows(iterator, BpfError, "worse");
    assertStringIncludes(other.message, "R0 !read_ok");
  }),
);

Deno.test(
  "a refused map and an invalid iterator are errors",
  closingAll(() => {
    assertThrows(() => new SharedMap(0), BpfError, "make a map");
    const good = [move(r0, 0), exit()];
    assertThrows(() => new Iterator("none", good, 1), BpfError, "none");
  }),
);
