/**
 * Other processes of rcap on illumos, and rcap itself, by their files in `/proc`:
 * whether one still runs, and signals to exactly that one.
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

/** Posts the signal that follows. */
const PCKILL = 9n;

const SIGNALS: Readonly<Record<DaemonSignal, bigint>> = {
  SIGHUP: 1n,
  SIGUSR1: 16n,
};

/** Where processes are seen, and through what. */
export interface ProcPlace {
  readonly libc: IllumosLibc;
  /** `/proc`, or where it is. */
  readonly root: string;
}

/** Whether a process still runs: `/proc` shows every process of the zone to everybody. */
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
 * Holds exactly one process by its control file, which stays that of the process it
 * was opened for.
 *
 * @throws NoSuchProcess when it has ended.
 * @throws ProcessAccessDenied when this user may not.
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
    // The file is of the process that has had the pid, and still has it below.
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

/** What this process itself uses now. */
export function ownUsage(place: ProcPlace): Usage {
  return ofProcess(
    Deno.pid,
    () => decodeUsage(readPsinfo(place, Deno.pid)),
  );
}

/**
 * The psinfo of the process that has a pid now, read through a descriptor of its own.
 *
 * @param open opens it.
 * @throws NoSuchProcess, SystemError when there is none.
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
