/**
 * The processes of the machine.
 *
 * @module
 */

import { File, readDirectory } from "../../../ffi/file.ts";
import type { ProcessEntry, ProcessSample } from "../platform.ts";
import { NoSuchProcess } from "../../errors.ts";
import { readSizes } from "./memory_files.ts";
import { ofProcess, ProcDir, readLine } from "./proc_dir.ts";
import { parseStat } from "./stat.ts";

/** Returns the pids of all processes, including kernel threads and zombies. */
export function listPids(): number[] {
  return readDirectory("/proc").filter(isNumber).map(Number);
}

/** Returns all processes, including kernel threads and zombies, sorted by pid. */
export function listProcesses(): ProcessEntry[] {
  const processes: ProcessEntry[] = [];
  for (const pid of listPids()) {
    try {
      processes.push(readProcess(pid));
    } catch (error) {
      // It exited after the directory was read.
      if (!(error instanceof NoSuchProcess)) throw error;
    }
  }
  return processes.sort((a, b) => a.pid - b.pid);
}

/**
 * Reads one process from its `stat` file.
 *
 * @throws NoSuchProcess if no process has that pid.
 */
export function readProcess(pid: number): ProcessEntry {
  const stat = ofProcess(pid, () => parseStat(readStat(`/proc/${pid}/stat`)));
  if (!stat.mainThreadExited) return stat;
  using directory = ProcDir.openPid(pid);
  return directory.opened;
}

/**
 * Reads one process and its sizes from `stat` and `statm`, through one descriptor of its
 * directory. The sizes of `stat` are approximate even where those of `statm` are exact.
 *
 * @throws NoSuchProcess if no process has that pid.
 */
export function sampleProcess(pid: number): ProcessSample {
  using directory = ProcDir.openPid(pid);
  return { ...directory.opened, ...readSizes(directory) };
}

/**
 * Reads the `stat` file of a process or thread.
 *
 * @throws SystemError if it does not exist or has exited.
 */
export function readStat(path: string): string {
  using file = File.open(path);
  return readLine(file);
}

/** Whether a name in `/proc` is a pid. */
function isNumber(name: string): boolean {
  const first = name.charCodeAt(0);
  return first >= 0x30 && first <= 0x39;
}
