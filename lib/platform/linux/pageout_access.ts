/**
 * Access to a process that is to be paged out: its pidfd, and whether the kernel
 * lets rcap page it out.
 *
 * @module
 */

import { CallList } from "../../../ffi/call_list.ts";
import type { File } from "../../../ffi/file.ts";
import { Errno } from "../../../ffi/libc.ts";
import { lookWhetherAlive } from "../../../ffi/pagemap.ts";
import { MADV_PAGEOUT, type Pidfd, RemoteRanges } from "../../../ffi/pidfd.ts";
import { ProcessAccessDenied, SystemError } from "../../errors.ts";
import type { ProcessId } from "../platform.ts";
import type { Attempt } from "./memory_calls.ts";
import { accessRemedy, lacking } from "./privileges.ts";
import { ofProcess, ProcDir, processError, whyLost } from "./proc_dir.ts";
import { isRefusal } from "./refusals.ts";
import { openPidfd, requirePageout } from "./system_calls.ts";

/**
 * Opens a pidfd of exactly this process.
 *
 * Another process may get the pid before the pidfd is open. If the process still
 * exists afterwards, the pidfd is its own.
 */
export function openPidfdOf(id: ProcessId): Pidfd {
  using held = new DisposableStack();
  const pidfd = held.use(ofProcess(id.pid, () => openPidfd(id.pid)));
  using _stillThere = ProcDir.open(id);
  held.move();
  return pidfd;
}

/**
 * Checks whether this user may page out a process, by a call without ranges.
 *
 * @throws ProcessAccessDenied if this user may not page it out.
 * @throws CapabilityError if this user cannot page out any process.
 */
export async function mayPageOut(
  id: ProcessId,
  { pidfd, pagemap }: { pidfd: Pidfd; pagemap: File },
  attempt: Attempt,
): Promise<void> {
  const { pid } = id;
  const calls = new CallList();
  // This call takes the lock too, and SIGKILL ends its wait. The next one takes the
  // lock even without ranges, since about Linux 6.15.
  const alive = lookWhetherAlive(pagemap, calls);
  const nothing = new RemoteRanges(0);
  const advice = { from: 0, advice: MADV_PAGEOUT };
  const advised = pidfd.advise(calls, nothing, advice);
  try {
    await attempt.make(calls, { isUnstoppable: true });
    if (calls.result(alive) === 0) throw whyLost(id);
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
