/**
 * Anonymous memory of our own, outside the JavaScript heap: `mmap(2)`.
 *
 * @module
 */

import { errno, libc, SystemError } from "./libc.ts";

// <sys/mman.h> of Linux.
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_PRIVATE = 0x02;
const MAP_ANONYMOUS = 0x20;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/** A mapping of our own, resident once written to; unmapped by `using`. */
export class AnonymousMemory implements Disposable {
  /** Address of the first byte. */
  readonly start: bigint;
  /** Length in bytes. */
  readonly bytes: number;

  /** @throws SystemError when there is no memory. */
  constructor(bytes: number) {
    this.start = libc().mmap(
      0n,
      BigInt(bytes),
      PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS,
      -1,
      0n,
    );
    if (this.start === MAP_FAILED) throw new SystemError("mmap", errno());
    this.bytes = bytes;
  }

  /** Writes to all of it, so that it becomes resident. */
  fill(byte: number): void {
    const pointer = Deno.UnsafePointer.create(this.start);
    if (pointer === null) return;
    new Uint8Array(
      Deno.UnsafePointerView.getArrayBuffer(pointer, this.bytes),
    ).fill(byte);
  }

  [Symbol.dispose](): void {
    libc().munmap(this.start, BigInt(this.bytes));
  }
}
