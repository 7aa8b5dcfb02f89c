/**
 * Tests of patience with processes that do not answer: the calls that do not return
 * are reads of empty pipes.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import "../../../tests/support/deadline.ts";
import { CallList } from "../../../ffi/call_list.ts";
import { File, O_WRONLY } from "../../../ffi/file.ts";
import { libc } from "../../../ffi/libc.ts";
import { type Attempt, MemoryCalls, NotAnswering } from "./memory_calls.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();
const { pipe: makePipe } = Deno.dlopen("libc.so.6", {
  pipe: { parameters: ["buffer"], result: "i32" },
}).symbols;

/** A pipe; a read of it returns when the pipe is disposed. */
class Pipe implements Disposable {
  readonly #ends = new Uint32Array(2);
  readonly #writer: File;
  #reader: File | undefined;

  constructor() {
    assertEquals(makePipe(this.#ends), 0);
    this.#writer = File.own(this.#ends[1], "pipe");
    this.#reader = File.own(this.#ends[0], "pipe");
  }

  /** Reads without success and with little patience. */
  read = async (attempt: Attempt): Promise<void> => {
    attempt.patience = 50;
    const calls = new CallList();
    calls.read(this.#ends[0], new Uint8Array(1));
    try {
      await attempt.make(calls);
    } finally {
      this.#reader?.[Symbol.dispose]();
      this.#reader = undefined;
    }
  };

  [Symbol.dispose](): void {
    this.#writer[Symbol.dispose]();
  }
}

/** A step that ends at once. */
async function quick(attempt: Attempt): Promise<number> {
  attempt.patience = 2000;
  const calls = new CallList();
  const thread = calls.thread();
  await attempt.make(calls);
  return calls.checked(thread, "gettid");
}

const id = (pid: number) => ({ pid, startTime: 1 });

/** Waits until all calls have returned. */
async function settled(calls: MemoryCalls, pids: number[]): Promise<void> {
  for (const pid of pids) {
    while (true) {
      try {
        await calls.patiently(id(pid), quick);
        break;
      } catch (error) {
        if (!(error instanceof NotAnswering)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
}

Deno.test("a process that does not answer is set aside until its call returns", async () => {
  const calls = new MemoryCalls();
  const pipe = new Pipe();
  await assertRejects(
    () => calls.patiently(id(1), pipe.read),
    NotAnswering,
    "process 1 does not answer",
  );
  // This fails at once, without a call.
  await assertRejects(() => calls.patiently(id(1), quick), NotAnswering);
  assert(await calls.patiently(id(2), quick) > 0);
  pipe[Symbol.dispose]();
  await settled(calls, [1]);
  assertEquals(calls.silenceOf(id(1)), undefined);
});

Deno.test("stuck calls of one group do not block the calls of another", async () => {
  const calls = new MemoryCalls();
  using pipes = new DisposableStack();
  let stuck = 0;
  const pids: number[] = [];
  for (let pid = 1; pid <= 20; pid++) {
    const pipe = pipes.use(new Pipe());
    await assertRejects(
      () =>
        calls.patiently(id(pid), async (attempt) => {
          stuck++;
          pids.push(pid);
          await pipe.read(attempt);
        }, "hostile"),
      NotAnswering,
    );
  }
  assertEquals(stuck, 4);
  assertEquals(calls.overload, undefined);
  const others = Array.from(
    { length: 50 },
    (_, at) => calls.patiently(id(100 + at), quick, `cap ${at}`),
  );
  assertEquals((await Promise.all(others)).length, 50);
  pipes.dispose();
  await settled(calls, pids);
});

Deno.test("stuck calls of many groups are reported and leave threads free", async () => {
  const calls = new MemoryCalls();
  using pipes = new DisposableStack();
  const pids: number[] = [];
  let pid = 0;
  for (let round = 0; round < 5; round++) {
    await Promise.all(Array.from({ length: 14 }, async (_, group) => {
      const one = ++pid;
      const pipe = pipes.use(new Pipe());
      await assertRejects(
        () => calls.patiently(id(one), pipe.read, `cap ${group}`),
        NotAnswering,
      );
      pids.push(one);
    }));
  }
  assert(calls.overload?.includes("calls do not return"));
  // This uses another thread than theirs.
  const free = new CallList();
  const thread = free.thread();
  await free.make();
  assert(free.checked(thread, "gettid") > 0);
  pipes.dispose();
  await settled(calls, pids);
  assertEquals(calls.overload, undefined);
});

Deno.test("a late result is released, and calls of an abandoned attempt are not made", async () => {
  const calls = new MemoryCalls();
  const { promise: released, resolve } = Promise.withResolvers<void>();
  let written: number | undefined;
  await assertRejects(
    () =>
      calls.patiently(id(1), async (attempt) => {
        attempt.patience = 50;
        const ends = new Uint32Array(2);
        assertEquals(makePipe(ends), 0);
        using reader = File.own(ends[0], "pipe");
        using nowhere = File.open("/dev/null", O_WRONLY);
        const list = new CallList();
        list.read(reader.fd, new Uint8Array(1));
        const write = list.write(nowhere.fd, new Uint8Array(1));
        setTimeout(() => {
          using writer = File.own(ends[1], "pipe");
          writer.write("x");
        }, 300);
        await attempt.make(list);
        written = list.result(write);
        return { [Symbol.dispose]: resolve };
      }),
    NotAnswering,
  );
  await released;
  // The read returned, and the write found no descriptor.
  assert(written !== undefined && written < 0, `${written}`);
});

Deno.test("a process that claims a lot of memory is not waited for longer than the limit", () => {
  const calls = new MemoryCalls();
  return calls.patiently(id(1), (attempt) => {
    attempt.allowFor(2 ** 50);
    assertEquals(attempt.patience, 10_000);
    return Promise.resolve();
  });
});
