/**
 * The files in `/proc/<pid>` that tell of a process's memory: maps, smaps, statm,
 * and clear_refs, which resets its reference bits.
 *
 * @module
 */

import { type File, O_WRONLY } from "../../../ffi/file.ts";
import { pageSize } from "../../../ffi/system.ts";
import type { ProcessSizes } from "../platform.ts";
import {
  exited,
  ofProcess,
  ofProcessSlowly,
  type ProcDir,
} from "./proc_dir.ts";
import { type LinuxMapping, parseSmaps } from "./smaps.ts";

const decoder = new TextDecoder();

/** From this resident size on, single reads of smaps take long. */
const LARGE_PROCESS = 4 * 2 ** 30;

/** Below this resident size, another thread takes longer than the work itself. */
const QUICK_TO_CLEAR = 64 * 2 ** 20;

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
    throw exited(pid);
  }
  return ofProcess(pid, () => parseSmaps(text));
}

/** Resets the reference bits: clear_refs of proc(5), value 1. */
export async function clearReferences(directory: ProcDir): Promise<void> {
  await writeClearRefs(directory, "1");
}

/**
 * Resets the soft-dirty bits, where the kernel keeps any, and in any case has the
 * processors forget what they keep of the page tables (`clear_refs_write` of
 * fs/proc/task_mmu.c): until then they do not note again that a page is accessed.
 *
 * With soft-dirty bits, a page faults once when it is next written to:
 * Documentation/admin-guide/mm/soft-dirty.rst.
 */
export async function clearSoftDirty(directory: ProcDir): Promise<void> {
  await writeClearRefs(directory, "4");
}

async function writeClearRefs(
  directory: ProcDir,
  value: string,
): Promise<void> {
  using clearRefs = directory.openFile("clear_refs", O_WRONLY);
  const isQuick = directory.opened.rss < QUICK_TO_CLEAR;
  await ofProcessSlowly(
    directory.pid,
    async () =>
      isQuick ? clearRefs.write(value) : await clearRefs.writeSlowly(value),
  );
}

/** Reads the proportional set size, in bytes. Costs a walk of the page tables. */
export async function readProportional(directory: ProcDir): Promise<number> {
  using rollup = directory.openFile("smaps_rollup");
  const isLarge = readSizes(directory).rss >= LARGE_PROCESS;
  const text = await ofProcessSlowly(
    directory.pid,
    () => rollup.readAllSlowly(isLarge),
  );
  const kilobytes = /^Pss: *(\d+) kB$/m.exec(decoder.decode(text))?.[1];
  return Number(kilobytes ?? 0) * 1024;
}

/** Reads RSS and image size: proc_pid_statm(5), fields 2 and 1, in pages. */
export function readSizes(directory: ProcDir): ProcessSizes {
  const [image, rss] = directory.readText("statm").split(" ").map(Number);
  return { rss: rss * pageSize(), image: image * pageSize() };
}
