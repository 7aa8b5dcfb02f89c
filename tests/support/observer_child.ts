/**
 * Another rcap for the tests of locks on processes: `observer_child.ts DIRECTORY PID
 * START`. Tries to take the lock on that process, prints the pid of the holder, or 0,
 * and keeps the lock until it is killed.
 *
 * @module
 */

import { linuxByteLocks, linuxFiles } from "../../ffi/linux_files.ts";
import { ResetLocks } from "../../lib/observer/reset_locks.ts";
import { say } from "./say.ts";

const [directory, pid, startTime] = Deno.args;
const locks = new ResetLocks(
  { files: linuxFiles, processSpace: () => null },
  { directory, locks: linuxByteLocks },
);
const id = { pid: Number(pid), startTime: Number(startTime) };
say(String(locks.take(id) ?? 0));
setInterval(() => {}, 1 << 30);
