/**
 * Access to a process that is to be paged out: its pidfd, and whether the kernel
 * lets rcap page it out.
 *
 * @module
 */

import { CallList } from "../../../ffi/call_list.ts";
import type { File } from "../../../ffi/file.ts";
import { Errno, SystemError } from "../../../ffi/libc.ts";
import { lookWhetherAlive } from "../../../ffi/pagemap.ts";
import { MADV_PAGEOUT, type Pidfd, RemoteRanges } from "../../../ffi/pidfd.ts";
import { ProcessAccessDenied } from "../../errors.ts";
import type { ProcessId } from "../platform.ts";
import type { Attempt } from "./memory_calls.ts";
import { accessRemedy, lacking } from "./privileges.ts";
import { exited, ofProcess, ProcDir, processError } from "./proc_dir.ts";
import { isRefusal } from "./refusals.ts";
import { openPidfd, requirePageout } from "./system_calls.ts";

/**
 * Opens a descriptor of exactly the process that is meant.
 *
 * The pid may pass to another process until the descriptor is open. The meant
 * process still has it if it is there afterwards.
 */
export function openPidfdOf(id: ProcessId): Pidfd {
  using held = new DisposableStack();
  const pidfd = held.use(ofProcess(id.pid, () => openPidfd(id.pid)));
  using _stillThere = ProcDir.open(id);
  held.move();
  return pidfd;
}

/**
 * Finds out whether this user may page a process out, by a call without ranges.
 *
 * @throws ProcessAccessDenied when it may not.
 * @throws CapabilityError when it could not be any other process either.
 */
export async function mayPageOut(
  pid: number,
  { pidfd, pagemap }: { pidfd: Pidfd; pagemap: File },
  attempt: Attempt,
): Promise<void> {
  const calls = new CallList();
  // It takes the lock too, and SIGKILL ends its wait: what comes next takes the
  // lock also where there are no ranges, since Linux 6.15 or so.
  const alive = lookWhetherAlive(pagemap, calls);
  const nothing = new RemoteRanges(0);
  const advice = { from: 0, advice: MADV_PAGEOUT };
  const advised = pidfd.advise(calls, nothing, advice);
  try {
    await attempt.make(calls, { isUnstoppable: true });
    if (calls.result(alive) === 0) throw exited(pid);
    calls.checked(advised, "process_madvise");
  } catch (error) {
    if (!(error instanceof SystemError) || !isRefusal(error.errno)) {
      throw processError(pid, error);
    }
    const lacks = lacking(["CAP_SYS_NICE"]).length > 0;
    if (error.errno === Errno.ENOSYS || !lacks) await requirePageout();
    throw new ProcessAccessDenied(
      pid,
      `process ${pid}: may not be paged out (${error.message}); ${
        accessRemedy(["CAP_SYS_NICE"])
      }`,
      { cause: error },
    );
  }
}
