/**
 * Looks at the mmap locks of processes through BPF, without taking them.
 *
 * Facts: kernel/locking/rwsem.c, "The least significant 2 bits of the owner value"
 * and "On 64-bit architectures, the bit definitions of the count are".
 *
 * @module
 */

import { type Btf, BtfError } from "../../../ffi/btf.ts";
import type { KernelMemory } from "./kernel_memory.ts";
import type { LockLook } from "./memory_calls.ts";

/**
 * Bits of the count: a writer holds the lock, a thread waits, or the lock is handed
 * to a waiter.
 */
const BLOCKS_READERS = 0b111;

/** Offsets of the words of a lock, in bytes from the address of its mm_struct. */
interface Offsets {
  readonly count: number;
  readonly owner: number;
  /**
   * A number that every writer changes when it takes the lock and when it lets go
   * (`mm_lock_seqcount_begin` and `_end` of include/linux/mmap_lock.h), so that one
   * writer that comes back is told from one that stays. `undefined` before Linux 6.4
   * and without CONFIG_PER_VMA_LOCK.
   */
  readonly sequence: number | undefined;
}

/** Looks at mmap locks. */
export class MmapLocks {
  readonly #memory: KernelMemory;
  readonly #offsets: Offsets | undefined;

  constructor(btf: Btf, memory: KernelMemory) {
    this.#memory = memory;
    this.#offsets = offsetsOf(btf);
  }

  /**
   * Returns the current state of the lock of an address space; anything if the
   * address space is gone.
   *
   * @param mm the address of its `struct mm_struct`.
   * @returns `undefined` if this kernel's BTF does not describe such locks, as with
   * PREEMPT_RT.
   */
  look(mm: bigint): LockLook | undefined {
    const offsets = this.#offsets;
    if (!offsets) return undefined;
    const { addresses, words } = this.#memory;
    const { count, owner, sequence = count } = offsets;
    const first = Math.min(count, owner, sequence);
    const start = mm + BigInt(first);
    addresses[0] = Number(start & 0xffff_ffffn);
    addresses[1] = Number(start >> 32n);
    this.#memory.copy(1);
    const at = (offset: number) => words[(offset - first) / 4];
    const [low, high] = [at(count), at(count + 4)];
    const blocksReaders = (low & BLOCKS_READERS) !== 0 || high >>> 31 === 1;
    return {
      blocksReaders,
      blocksWriters: low !== 0 || high !== 0,
      holders: `${high}.${low} ${at(owner + 4)}.${at(owner)} ${at(sequence)}`,
    };
  }
}

function offsetsOf(btf: Btf): Offsets | undefined {
  try {
    const lock = btf.offsetOf("mm_struct", "mmap_lock");
    return {
      count: lock + btf.offsetOf("rw_semaphore", "count"),
      owner: lock + btf.offsetOf("rw_semaphore", "owner"),
      sequence: btf.offsetIfAny("mm_struct", "mm_lock_seq"),
    };
  } catch (error) {
    if (!(error instanceof BtfError)) throw error;
    return undefined;
  }
}
