/**
 * A process for the tests of locks: `lock_child.ts FILE [UID]`. Becomes that user
 * where one is named, tells who holds the lock, tries to take it, tells what came
 * of it, and keeps it until it is killed. One JSON object on standard output.
 *
 * @module
 */

import { lockHolder, tryLock } from "./file_lock.ts";
import { SystemError } from "./libc.ts";

/** What the process says. */
export interface LockChildAnswer {
  holder: number | null;
  /** Whether it got the lock, or why it could not even try. */
  lock: boolean | string;
}

/** Becomes another user, with no way back. */
function become(uid: number): void {
  const libc = Deno.dlopen("libc.so.6", {
    setresuid: { parameters: ["u32", "u32", "u32"], result: "i32" },
  }).symbols;
  if (libc.setresuid(uid, uid, uid) !== 0) throw new Error("setresuid fails");
}

function attempt(path: string): LockChildAnswer["lock"] {
  try {
    return tryLock(path) !== undefined;
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return error.message;
  }
}

if (import.meta.main) {
  const [path, uid] = Deno.args;
  if (uid !== undefined) become(Number(uid));
  const answer: LockChildAnswer = {
    holder: lockHolder(path) ?? null,
    lock: attempt(path),
  };
  console.log(JSON.stringify(answer));
  setInterval(() => {}, 1 << 30);
}
