/**
 * Tests of locks, between processes.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { lockHolder, tryLock } from "./file_lock.ts";
import { Errno, SystemError } from "./libc.ts";
import type { LockChildAnswer } from "./lock_child.ts";
import "./testing.ts";

const CHILD = new URL("lock_child.ts", import.meta.url).pathname;
const NOBODY = 65534;

/** The path of a lock file in a directory of its own, removed when disposed. */
function lockFile(): Disposable & { readonly path: string } {
  const directory = Deno.makeTempDirSync();
  // For every user, as a state directory is.
  Deno.chmodSync(directory, 0o755);
  return {
    path: `${directory}/lock`,
    [Symbol.dispose]: () => Deno.removeSync(directory, { recursive: true }),
  };
}

/** Another process that tries to take a lock; killed when disposed. */
class Contender implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;

  constructor(path: string, uid?: number) {
    const words = uid === undefined ? [path] : [path, `${uid}`];
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--allow-ffi", CHILD, ...words],
      stdin: "null",
      stdout: "piped",
    }).spawn();
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** What it says, once it has tried. */
  async answer(): Promise<LockChildAnswer> {
    const decoder = new TextDecoder();
    let text = "";
    for await (const chunk of this.#child.stdout) {
      text += decoder.decode(chunk, { stream: true });
      if (text.endsWith("\n")) break;
    }
    return JSON.parse(text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
  }
}

Deno.test("a lock keeps other processes out until it is let go", async () => {
  using file = lockFile();
  {
    using lock = tryLock(file.path);
    assert(lock);
    await using other = new Contender(file.path);
    assertEquals(await other.answer(), { holder: Deno.pid, lock: false });
  }
  assertEquals(lockHolder(file.path), undefined);
  await using other = new Contender(file.path);
  assertEquals(await other.answer(), { holder: null, lock: true });
  assertEquals(lockHolder(file.path), other.pid);
  assertEquals(tryLock(file.path), undefined);
  // Having tried has not changed who holds it.
  assertEquals(lockHolder(file.path), other.pid);
});

Deno.test("a killed process leaves its lock free", async () => {
  using file = lockFile();
  {
    await using other = new Contender(file.path);
    assertEquals((await other.answer()).lock, true);
  }
  assertEquals(lockHolder(file.path), undefined);
  using lock = tryLock(file.path);
  assert(lock);
});

Deno.test("asking and trying again do not lose a lock of our own", async () => {
  using file = lockFile();
  const link = `${file.path}.link`;
  using lock = tryLock(file.path);
  assert(lock);
  Deno.symlinkSync(file.path, link);
  for (const path of [file.path, link]) {
    assertEquals(lockHolder(path), Deno.pid);
    assertEquals(tryLock(path), undefined);
  }
  await using other = new Contender(file.path);
  assertEquals(await other.answer(), { holder: Deno.pid, lock: false });
});

Deno.test("a lock can be taken again, and letting go twice is nothing", () => {
  using file = lockFile();
  const first = tryLock(file.path);
  assert(first);
  first[Symbol.dispose]();
  using second = tryLock(file.path);
  assert(second);
  first[Symbol.dispose]();
  assertEquals(lockHolder(file.path), Deno.pid);
});

Deno.test({
  name: "who may only read the file is told who holds it",
  // Nobody else may become another user.
  ignore: Deno.uid() !== 0,
  async fn() {
    using file = lockFile();
    const before = Deno.umask(0o077);
    try {
      using lock = tryLock(file.path);
      assert(lock);
      await using user = new Contender(file.path, NOBODY);
      assertEquals(await user.answer(), {
        holder: Deno.pid,
        lock: `open ${file.path}: Permission denied (EACCES)`,
      });
    } finally {
      Deno.umask(before);
    }
  },
});

Deno.test("asking takes no lock, however often", async () => {
  using file = lockFile();
  Deno.writeTextFileSync(file.path, "");
  await using other = new Contender(file.path);
  const answer = other.answer();
  let isOver = false;
  answer.finally(() => isOver = true);
  while (!isOver) {
    for (let i = 0; i < 100; i++) lockHolder(file.path);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  assertEquals(await answer, { holder: null, lock: true });
});

Deno.test("nobody holds what is not there, and no directory is an error", () => {
  assertEquals(lockHolder("/nowhere/at all/lock"), undefined);
  const error = assertThrows(
    () => tryLock("/nowhere/at all/lock"),
    SystemError,
    "open /nowhere/at all/lock: No such file or directory (ENOENT)",
  );
  assertEquals(error.errno, Errno.ENOENT);
});
