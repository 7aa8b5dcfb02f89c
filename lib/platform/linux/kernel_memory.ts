/**
 * Copies pages of kernel memory, many at a time, by a BPF program.
 *
 * The program shares memory with rcap that holds both the addresses and the copies.
 * An address that cannot be read yields zeros, never a fault
 * (`bpf_probe_read_kernel`).
 *
 * @module
 */

import {
  BPF_PROBE_READ_KERNEL,
  SharedMap,
  SyscallProgram,
} from "../../../ffi/bpf.ts";
import {
  add,
  call,
  exit,
  jump,
  jumpIfNotBelow,
  label,
  load64,
  mapValue,
  move,
  r0,
  r1,
  r2,
  r3,
  r6,
  r7,
  r8,
  r9,
  shiftLeft,
  type Statement,
} from "../../../ffi/bpf_assembler.ts";

/** The most pages that one run copies. */
export const BATCH = 256;
const PAGE_SHIFT = 12;
const PAGE = 1 << PAGE_SHIFT;
/** Words of 32 bits in a page. */
export const PAGE_WORDS = PAGE / 4;

/**
 * The program. Its context is the number of pages to copy. The map's first page
 * holds the addresses; the others receive the copies.
 */
function copyPages(mapFd: number): Statement[] {
  const [context, count, index, value] = [r1, r7, r8, r9];
  return [
    move(r6, context),
    load64(count, r6, 0),
    move(index, 0),
    label("next"),
    jumpIfNotBelow(index, BATCH, "done"),
    jumpIfNotBelow(index, count, "done"),
    mapValue(value, mapFd),
    // r3 = addresses[index]
    move(r1, index),
    shiftLeft(r1, 3),
    add(r1, value),
    load64(r3, r1, 0),
    // r1 = copies[index]
    move(r2, index),
    shiftLeft(r2, PAGE_SHIFT),
    add(value, r2),
    add(value, PAGE),
    move(r1, value),
    move(r2, PAGE),
    call(BPF_PROBE_READ_KERNEL),
    add(index, 1),
    jump("next"),
    label("done"),
    move(r0, index),
    exit(),
  ];
}

/** Reads kernel memory; closed by `using`. */
export class KernelMemory implements Disposable {
  readonly #held = new DisposableStack();
  readonly #program: SyscallProgram;
  /** `BATCH` addresses to copy from, each as a low and a high half. */
  readonly addresses: Uint32Array<ArrayBuffer>;
  /** The copies, `PAGE_WORDS` words each. */
  readonly words: Uint32Array<ArrayBuffer>;

  /** @throws BpfError if the kernel refuses. */
  constructor() {
    using held = new DisposableStack();
    const map = held.use(new SharedMap(PAGE * (1 + BATCH)));
    this.#program = held.use(
      new SyscallProgram("copy_pages", copyPages(map.fd)),
    );
    this.addresses = new Uint32Array(map.memory, 0, BATCH * 2);
    this.words = new Uint32Array(map.memory, PAGE);
    this.#held = held.move();
  }

  /** Copies the pages at the first `count` addresses. */
  copy(count: number): void {
    this.#program.run(count);
  }

  [Symbol.dispose](): void {
    this.#held[Symbol.dispose]();
  }
}
