/**
 * The files in `/proc/<pid>` that tell of a process's memory: maps, smaps, statm,
 * and clear_refs, which resets its reference bits.
 *
 * @module
 */

import { type File, O_WRONLY } from "../../../ffi/file.ts";
import { pageSize } from "../../../ffi/system.ts";
import { NoSuchProcess } from "../../errors.ts";
import type { ProcessSizes } from "../platform.ts";
import { ofProcessSlowly, type ProcDir } from "./proc_dir.ts";
import { type LinuxMapping, parseSmaps } from "./smaps.ts";

/** From this resident size on, single reads of smaps take long. */
const LARGE_PROCESS = 4 * 2 ** 30;

/** Reads the mappings with all figures. Costs a walk of the page tables. */
export async function readSmaps(directory: ProcDir): Promise<LinuxMapping[]> {
  using smaps = directory.openFile("smaps");
  const isLarge = readSizes(directory).rss >= LARGE_PROCESS;
  return await parseMappings(directory, smaps, isLarge);
}

/** Reads the mappings without figures. */
export async function readMaps(directory: ProcDir): Promise<LinuxMapping[]> {
  using maps = directory.openFile("maps");
  return await parseMappings(directory, maps, false);
}

async function parseMappings(
  { pid }: ProcDir,
  file: File,
  away: boolean,
): Promise<LinuxMapping[]> {
  const text = await ofProcessSlowly(pid, () => file.readAllSlowly(away));
  // An address space that is gone has no mappings.
  if (text.length === 0) {
    throw new NoSuchProcess(pid, `process ${pid} has exited`);
  }
  return parseSmaps(text);
}

/**
 * What writing to clear_refs resets: proc(5), Documentation/filesystems/proc.rst.
 * Resetting soft-dirty makes every page fault once when it is next written to.
 */
const CLEAR = { references: "1", softDirty: "4" } as const;

/** Resets reference bits, or soft-dirty bits. */
export async function clearBits(
  directory: ProcDir,
  which: keyof typeof CLEAR,
): Promise<void> {
  using clearRefs = directory.openFile("clear_refs", O_WRONLY);
  const { pid } = directory;
  await ofProcessSlowly(pid, () => clearRefs.writeSlowly(CLEAR[which]));
}

/** Reads RSS and image size: proc_pid_statm(5), fields 2 and 1, in pages. */
export function readSizes(directory: ProcDir): ProcessSizes {
  const [image, rss] = directory.readText("statm").split(" ").map(Number);
  return { rss: rss * pageSize(), image: image * pageSize() };
}
