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
const MADV_HUGEPAGE = 14;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/** A mapping of our own; unmapped by `using`. */
export class AnonymousMemory implements Disposable {
  /** Address of the first byte. */
  readonly start: bigint;
  /** Its bytes; a page of it is resident once written to. */
  readonly contents: Uint8Array<ArrayBuffer>;

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
    const pointer = Deno.UnsafePointer.create(this.start);
    if (this.start === MAP_FAILED || pointer === null) {
      throw new SystemError("mmap", errno());
    }
    this.contents = new Uint8Array(
      Deno.UnsafePointerView.getArrayBuffer(pointer, bytes),
    );
  }

  /** Asks for large pages; where there are none, nothing changes. */
  adviseLargePages(): void {
    libc().madvise(this.start, BigInt(this.contents.length), MADV_HUGEPAGE);
  }

  [Symbol.dispose](): void {
    libc().munmap(this.start, BigInt(this.contents.length));
  }
}
