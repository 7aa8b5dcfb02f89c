/**
 * Processes of rcap on illumos, seen through their files in `/proc`: finds out whether
 * one still runs, and sends signals to exactly that one.
 *
 * Facts: proc(5), "ctl" and `PCKILL`, and `<sys/procfs.h>` and
 * `<sys/iso/signal_iso.h>` of illumos.
 *
 * @module
 */

import { type IllumosLibc, O_WRONLY } from "../../../ffi/illumos_libc.ts";
import { PSINFO } from "../../../ffi/illumos_structs.ts";
import type { Usage } from "../../../ffi/usage.ts";
import { NoSuchProcess } from "../../errors.ts";
import type { DaemonSignal, HeldProcess } from "../operating_system.ts";
import type { ProcessId } from "../platform.ts";
import { exited, replacedPid } from "../process_errors.ts";
import { ofProcess } from "./process_files.ts";
import { decodePsinfo, decodeUsage } from "./psinfo_file.ts";

/** The control message that posts the signal which follows it. */
const PCKILL = 9n;

const SIGNALS: Readonly<Record<DaemonSignal, bigint>> = {
  SIGHUP: 1n,
  SIGUSR1: 16n,
};

/** How processes are accessed. */
export interface ProcPlace {
  readonly libc: IllumosLibc;
  /** The directory of processes, usually `/proc`. */
  readonly root: string;
}

/** Whether a process still runs. `/proc` shows all processes of the zone to every user. */
export function fateOf(
  place: ProcPlace,
  { pid, startTime }: ProcessId,
): "runs" | "ended" {
  try {
    const found = ofProcess(pid, () => decodePsinfo(readPsinfo(place, pid)));
    return found.startTime === startTime && !found.isZombie ? "runs" : "ended";
  } catch (error) {
    if (error instanceof NoSuchProcess) return "ended";
    throw error;
  }
}

/**
 * Holds exactly one process by its control file. An open control file never refers to
 * another process.
 *
 * @throws NoSuchProcess if the process has ended.
 * @throws ProcessAccessDenied if this user may not signal it.
 */
export function holdProcess(
  place: ProcPlace,
  { pid, startTime }: ProcessId,
): HeldProcess {
  const { libc, root } = place;
  return ofProcess(pid, () => {
    using cleanup = new DisposableStack();
    const fd = libc.open(`${root}/${pid}/ctl`, O_WRONLY);
    cleanup.defer(() => libc.close(fd));
    // If the process still has the pid now, the file opened before is its own.
    const found = decodePsinfo(readPsinfo(place, pid));
    if (found.startTime !== startTime) throw replacedPid(pid);
    const held = cleanup.move();
    return {
      signal(name) {
        const message = BigInt64Array.of(PCKILL, SIGNALS[name]);
        ofProcess(pid, () => libc.write(fd, new Uint8Array(message.buffer)));
      },
      [Symbol.dispose]: () => held[Symbol.dispose](),
    };
  });
}

/** The current resource usage of this process. */
export function ownUsage(place: ProcPlace): Usage {
  return ofProcess(
    Deno.pid,
    () => decodeUsage(readPsinfo(place, Deno.pid)),
  );
}

/**
 * Reads the psinfo of the process that has a pid now, through a new descriptor.
 *
 * @param open opens the file.
 * @throws NoSuchProcess, SystemError if there is no such process.
 */
export function readPsinfo(
  { libc, root }: ProcPlace,
  pid: number,
  open: (path: string) => number = (path) => libc.open(path),
): Uint8Array<ArrayBuffer> {
  const fd = open(`${root}/${pid}/psinfo`);
  try {
    const buffer = new Uint8Array(PSINFO.size);
    const length = libc.readFrom(fd, 0n, buffer);
    if (length === 0) throw exited(pid);
    return buffer.subarray(0, length);
  } finally {
    libc.close(fd);
  }
}
