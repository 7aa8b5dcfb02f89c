/**
 * A process for the tests of locks: `lock_child.ts DIRECTORY UID [LIBRARY]`.
 * Becomes that user, does what follows by the calls of illumos where the library is
 * named that has them, tells who holds the lock on the file `lock`, tries to take
 * it, tells what came of it, and keeps it until it is killed. One JSON object on
 * standard output.
 *
 * @module
 */

import { IllumosFiles } from "../../ffi/illumos_files.ts";
import { IllumosLibc } from "../../ffi/illumos_libc.ts";
import { linuxFiles } from "../../ffi/linux_files.ts";
import { SystemError } from "../../lib/errors.ts";
import { FileLock, lockHolder } from "../../lib/platform/file_lock.ts";
import { openTrustedDirectory } from "../../lib/platform/trusted_path.ts";
import { say } from "./say.ts";

/** The answer of the process. */
export interface LockChildAnswer {
  /** The pid of the holder, null for none, or why it cannot be determined. */
  holder: number | null | string;
  /** Whether it got the lock, or why it could not try. */
  lock: boolean | string;
}

/** Becomes another user irrevocably. */
function become(uid: number): void {
  const libc = Deno.dlopen("libc.so.6", {
    setresuid: { parameters: ["u32", "u32", "u32"], result: "i32" },
  }).symbols;
  if (libc.setresuid(uid, uid, uid) !== 0) throw new Error("setresuid fails");
}

/** Returns the result of a step, or the message of a system error. */
function attempt<T>(step: () => T): T | string {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return error.message;
  }
}

if (import.meta.main) {
  const [path, uid, library] = Deno.args;
  const files = library === undefined
    ? linuxFiles
    : new IllumosFiles(library, new IllumosLibc(library));
  become(Number(uid));
  const directory = openTrustedDirectory(files, path);
  const answer: LockChildAnswer = {
    holder: attempt(() => lockHolder(directory, "lock") ?? null),
    lock: attempt(() => FileLock.tryLock(directory, "lock") !== undefined),
  };
  say(JSON.stringify(answer));
  setInterval(() => {}, 1 << 30);
}
