/**
 * Memory that is mapped into this process's address space, outside the JavaScript
 * heap: `mmap(2)`.
 *
 * @module
 */

import { File } from "./file.ts";
import { checked, cString, errno, libc, systemError } from "./libc.ts";

// <sys/mman.h> of Linux.
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_ANONYMOUS = 0x20;
const MADV_RANDOM = 1;
const MADV_HUGEPAGE = 14;
const MADV_NOHUGEPAGE = 15;
const MFD_CLOEXEC = 1;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/** A readable mapping of this process; unmapped by `using`. */
export class MappedMemory implements Disposable {
  /** Address of the first byte. */
  readonly start: bigint;
  /** Its bytes. */
  readonly contents: Uint8Array<ArrayBuffer>;

  private constructor(
    bytes: number,
    flags: number,
    fd: number,
    protection = PROT_READ | PROT_WRITE,
  ) {
    this.start = libc().mmap(
      0n,
      BigInt(bytes),
      protection,
      flags,
      fd,
      0n,
    );
    const pointer = Deno.UnsafePointer.create(this.start);
    if (this.start === MAP_FAILED || pointer === null) {
      throw systemError("mmap", errno());
    }
    this.contents = new Uint8Array(
      Deno.UnsafePointerView.getArrayBuffer(pointer, bytes),
    );
  }

  /**
   * Maps anonymous memory. A page of it becomes resident when it is written to.
   *
   * @throws SystemError if there is no memory.
   */
  static anonymous(bytes: number): MappedMemory {
    return new MappedMemory(bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  }

  /**
   * Maps the object of a descriptor, shared with everything else that maps it.
   *
   * @throws SystemError if it cannot be mapped.
   */
  static shared(bytes: number, fd: number): MappedMemory {
    return new MappedMemory(bytes, MAP_SHARED, fd);
  }

  /**
   * Maps a file for reading only: a write to its memory ends this process.
   *
   * @throws SystemError if it cannot be mapped.
   */
  static readOnly(bytes: number, fd: number): MappedMemory {
    return new MappedMemory(bytes, MAP_PRIVATE, fd, PROT_READ);
  }

  /** Asks for huge pages. Does nothing if the kernel has none. */
  adviseLargePages(): void {
    this.#advise(MADV_HUGEPAGE);
  }

  /** Forbids huge pages. Does nothing if the kernel has none. */
  adviseSmallPages(): void {
    this.#advise(MADV_NOHUGEPAGE);
  }

  /** Stops the kernel from reading pages of a file ahead. */
  adviseRandomAccess(): void {
    this.#advise(MADV_RANDOM);
  }

  #advise(advice: number): void {
    libc().madvise(this.start, BigInt(this.contents.length), advice);
  }

  /** Unmaps the memory. Its contents are empty afterwards, instead of an invalid address. */
  [Symbol.dispose](): void {
    const { buffer, length } = this.contents;
    if (length === 0) return;
    buffer.transfer(0);
    libc().munmap(this.start, BigInt(length));
  }
}

/**
 * Makes a file in memory, which exists for as long as it is open or mapped:
 * memfd_create(2).
 *
 * @throws SystemError if the system refuses.
 */
export function memoryFile(name: string, bytes: number): File {
  const fd = checked(
    libc().memfd_create(cString(name), MFD_CLOEXEC),
    "memfd_create",
  );
  using held = new DisposableStack();
  const file = held.use(File.own(fd, `memfd:${name}`));
  checked(libc().ftruncate(fd, BigInt(bytes)), "ftruncate");
  held.move();
  return file;
}
