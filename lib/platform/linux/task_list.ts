/**
 * Lists the address spaces of all processes, by one pass of a BPF iterator over the
 * kernel's tasks.
 *
 * @module
 */

import { BPF_SEQ_WRITE, Iterator } from "../../../ffi/bpf.ts";
import {
  add,
  call,
  exit,
  jumpIfEqual,
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
  type Statement,
  store64,
} from "../../../ffi/bpf_assembler.ts";
import { type Btf, BtfKind } from "../../../ffi/btf.ts";

/**
 * Size of a record that the program writes, in bytes: tgid, pgd, mm and run time,
 * 64 bits each.
 */
const RECORD = 32;
const RECORD_WORDS = RECORD / 8;

/** An address space, as its tasks describe it. */
export interface AddressSpace {
  /** The address of its top page table. */
  readonly topTable: bigint;
  /** The address of its `struct mm_struct`. */
  readonly address: bigint;
  /** The total run time of its current tasks, in nanoseconds. */
  runtime: number;
}

/**
 * The program. It writes a record for every task that has memory. Its context is a
 * `struct bpf_iter__task`: meta at 0, whose first member is the file to write to,
 * and task at 8, null at the end.
 */
function writeTasks(btf: Btf): Statement[] {
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

  /** @throws BtfError if the kernel's types are not as expected, BpfError if it refuses. */
  constructor(btf: Btf) {
    this.#iterator = new Iterator(
      "write_tasks",
      writeTasks(btf),
      btf.idOf(BtfKind.FUNC, "bpf_iter_task"),
    );
  }

  /** Returns the address spaces of all processes, by pid. */
  addressSpaces(): Map<number, AddressSpace> {
    const records = new BigUint64Array(this.#iterator.readAll().slice().buffer);
    const spaces = new Map<number, AddressSpace>();
    const byTable = new Map<bigint, AddressSpace>();
    for (let at = 0; at + 3 < records.length; at += RECORD_WORDS) {
      const topTable = records[at + 1];
      const address = records[at + 2];
      let space = byTable.get(topTable);
      if (!space) {
        byTable.set(topTable, space = { topTable, address, runtime: 0 });
      }
      space.runtime += Number(records[at + 3]);
      spaces.set(Number(records[at]), space);
    }
    return spaces;
  }

  [Symbol.dispose](): void {
    this.#iterator[Symbol.dispose]();
  }
}
