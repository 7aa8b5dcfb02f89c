/**
 * The processes of the machine.
 *
 * @module
 */

import { NoSuchProcess } from "../../errors.ts";
import { readDirectory } from "../../../ffi/file.ts";
import { ProcDir } from "./proc_dir.ts";
import type { ProcessStat } from "./stat.ts";

/** Every process there is, kernel threads and zombies too, by pid. */
export function listProcesses(): ProcessStat[] {
  const processes: ProcessStat[] = [];
  for (const name of readDirectory("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      processes.push(readProcess(Number(name)));
    } catch (error) {
      // Exited since the directory was read.
      if (!(error instanceof NoSuchProcess)) throw error;
    }
  }
  return processes.sort((a, b) => a.pid - b.pid);
}

/**
 * One process.
 *
 * @throws NoSuchProcess when there is none with that pid.
 */
export function readProcess(pid: number): ProcessStat {
  using directory = ProcDir.openPid(pid);
  return directory.stat();
}
