/**
 * Lists the address spaces of all processes, by one pass of a BPF iterator over the
 * kernel's tasks.
 *
 * @module
 */

import {
  BPF_PROBE_READ_KERNEL,
  BPF_SEQ_WRITE,
  Iterator,
} from "../../../ffi/bpf.ts";
import {
  add,
  call,
  exit,
  jumpIfEqual,
  jumpIfNotEqual,
  label,
  load32,
  load64,
  move,
  r0,
  r1,
  r10,
  r2,
  r3,
  r6,
  r7,
  r8,
  type Register,
  type Statement,
  store64,
} from "../../../ffi/bpf_assembler.ts";
import { type Btf, BtfError, BtfKind } from "../../../ffi/btf.ts";

/**
 * Size of a record that the program writes, in bytes: tgid, pgd, mm, run time and an
 * address that is 0 if nothing subscribes to changes of the address space, 64 bits
 * each.
 */
const RECORD = 40;
const RECORD_HALVES = RECORD / 4;

/** An address space, as its tasks describe it. */
export interface AddressSpace {
  /** The address of its top page table. */
  readonly topTable: bigint;
  /** The address of its `struct mm_struct`. */
  readonly address: bigint;
  /** One of the processes that have it. */
  readonly pid: number;
  /** Whether several processes have it, as after `clone(CLONE_VM)`. */
  isShared: boolean;
  /** The total run time of its current tasks, in nanoseconds. */
  runtime: number;
  /**
   * Whether a virtual machine or device maps it by page tables of its own;
   * `undefined` if this kernel's types do not tell.
   */
  readonly hasSecondaryMmu: boolean | undefined;
}

/**
 * Where those who map an address space by page tables of their own subscribe to its
 * changes: `struct mmu_notifier_subscriptions` of mm/mmu_notifier.c. KVM and IOMMUs
 * are in a list, RDMA and GPUs, which subscribe for ranges, in a tree. It stays when
 * all have gone, with both empty. Offsets in bytes.
 */
interface Subscriptions {
  /** Of the pointer to it in `mm_struct`. */
  readonly pointer: number;
  /** Of the first element of the list, and of the root of the tree. */
  readonly list: number;
  readonly tree: number;
}

/** `undefined` if this kernel has no such thing, or names it differently. */
function subscriptionsOf(btf: Btf): Subscriptions | undefined {
  const struct = "mmu_notifier_subscriptions";
  try {
    return {
      pointer: btf.offsetOf("mm_struct", "notifier_subscriptions"),
      list: btf.offsetOf(struct, "list") + btf.offsetOf("hlist_head", "first"),
      tree: btf.offsetOf(struct, "itree") +
        btf.offsetOf("rb_root_cached", "rb_root") +
        btf.offsetOf("rb_root", "rb_node"),
    };
  } catch (error) {
    if (!(error instanceof BtfError)) throw error;
    return undefined;
  }
}

/**
 * Stores the first element of the list, or the root of the tree if there is none. Their
 * type is private to a file of the kernel, so they are read by address.
 */
function storeSubscription(
  mm: Register,
  { pointer, list, tree }: Subscriptions,
): Statement[] {
  const at = -RECORD + 32;
  const subscriptions = r7;
  const read = (offset: number) => [
    move(r1, r10),
    add(r1, at),
    move(r2, 8),
    move(r3, subscriptions),
    add(r3, offset),
    call(BPF_PROBE_READ_KERNEL),
    load64(r1, r10, at),
  ];
  return [
    load64(subscriptions, mm, pointer),
    jumpIfEqual(subscriptions, 0, "stored"),
    ...read(list),
    jumpIfNotEqual(r1, 0, "stored"),
    ...read(tree),
    label("stored"),
  ];
}

/**
 * The program. It writes a record for every task that has memory. Its context is a
 * `struct bpf_iter__task`: meta at 0, whose first member is the file to write to,
 * and task at 8, null at the end.
 */
function writeTasks(
  btf: Btf,
  subscriptions: Subscriptions | undefined,
): Statement[] {
  const [context, task, mm] = [r6, r7, r8];
  return [
    move(context, r1),
    load64(task, context, 8),
    jumpIfEqual(task, 0, "done"),
    load64(mm, task, btf.offsetOf("task_struct", "mm")),
    jumpIfEqual(mm, 0, "done"),
    load32(r1, task, btf.offsetOf("task_struct", "tgid")),
    store64(r10, -RECORD, r1),
    load64(r1, mm, btf.offsetOf("mm_struct", "pgd")),
    store64(r10, -RECORD + 8, r1),
    store64(r10, -RECORD + 16, mm),
    load64(
      r1,
      task,
      btf.offsetOf("task_struct", "se") +
        btf.offsetOf("sched_entity", "sum_exec_runtime"),
    ),
    store64(r10, -RECORD + 24, r1),
    move(r1, 0),
    store64(r10, -RECORD + 32, r1),
    // The task is not needed any more.
    ...subscriptions ? storeSubscription(mm, subscriptions) : [],
    load64(r1, context, 0),
    load64(r1, r1, 0),
    move(r2, r10),
    add(r2, -RECORD),
    move(r3, RECORD),
    call(BPF_SEQ_WRITE),
    label("done"),
    move(r0, 0),
    exit(),
  ];
}

/** Lists address spaces; closed by `using`. */
export class TaskList implements Disposable {
  readonly #iterator: Iterator;
  readonly #tellsSubscriptions: boolean;

  /** @throws BtfError if the kernel's types are not as expected, BpfError if it refuses. */
  constructor(btf: Btf) {
    const subscriptions = subscriptionsOf(btf);
    this.#tellsSubscriptions = subscriptions !== undefined;
    this.#iterator = new Iterator(
      "write_tasks",
      writeTasks(btf, subscriptions),
      btf.idOf(BtfKind.FUNC, "bpf_iter_task"),
    );
  }

  /** Returns the address spaces of all processes, by pid. */
  addressSpaces(): Map<number, AddressSpace> {
    // Halves of 64 bits, lower first, since there is a record for every thread of the
    // machine, and a bigint takes longer.
    const records = new Uint32Array(this.#iterator.readAll().slice().buffer);
    const spaces = new Map<number, AddressSpace>();
    const byTable = new Map<number, AddressSpace>();
    let before = -1;
    let space: AddressSpace | undefined;
    for (
      let at = 0;
      at + RECORD_HALVES <= records.length;
      at += RECORD_HALVES
    ) {
      const table = low52At(records, at + 2);
      // Most threads follow others of their process.
      if (table !== before || !space) {
        space = byTable.get(table);
        if (!space) {
          space = {
            topTable: bigintAt(records, at + 2),
            address: bigintAt(records, at + 4),
            pid: records[at],
            isShared: false,
            runtime: 0,
            hasSecondaryMmu: this.#tellsSubscriptions
              ? (records[at + 8] | records[at + 9]) !== 0
              : undefined,
          };
          byTable.set(table, space);
        }
        before = table;
        spaces.set(records[at], space);
        if (records[at] !== space.pid) space.isShared = true;
      } else if (records[at] !== records[at - RECORD_HALVES]) {
        spaces.set(records[at], space);
        space.isShared = true;
      }
      space.runtime += low52At(records, at + 6);
    }
    return spaces;
  }

  [Symbol.dispose](): void {
    this.#iterator[Symbol.dispose]();
  }
}

/**
 * Returns the lower 52 of 64 bits. They tell apart all tables, since the kernel maps
 * physical memory, which has addresses of at most 52 bits, in one piece.
 */
function low52At(halves: Uint32Array, at: number): number {
  return (halves[at + 1] & 0xfffff) * 2 ** 32 + halves[at];
}

function bigintAt(halves: Uint32Array, at: number): bigint {
  return BigInt(halves[at + 1]) << 32n | BigInt(halves[at]);
}
