/**
 * The mappings of a process whose page tables are read, and which of them may be cooled.
 *
 * @module
 */

import { mayBePageable, type PageableContext } from "./candidates.ts";
import type { JoinedMappings } from "./joined_mappings.ts";
import type { LinuxMapping } from "./linux_mapping.ts";
import type { MemoryFiles } from "./memory_files.ts";
import type { SmapsParser } from "./smaps.ts";

/** The mappings of a process. */
interface ReadMappings {
  readonly mappings: LinuxMapping[];
  readonly joined: JoinedMappings;
  /** Whether their flags are known, which only smaps shows. */
  readonly hasFlags: boolean;
}

/**
 * Reads the mappings, with their flags if they are needed, or any may be locked or
 * hugetlb. Few processes have such mappings, so maps is read during the check.
 */
export async function readMappings(
  files: MemoryFiles,
  { newParser, needsFlags }: {
    newParser: () => SmapsParser;
    needsFlags: boolean;
  },
): Promise<ReadMappings> {
  const { directory } = files;
  if (needsFlags) return await readFlags(files, newParser());
  const parser = newParser();
  const [mappings, mayBe] = await meanwhile(
    files.readMaps(parser),
    () => mayHaveFlags(directory.readText("status")),
  );
  if (mayBe) return await readFlags(files, newParser());
  return { mappings, joined: parser.joined, hasFlags: false };
}

/** Reads the mappings with their flags. */
export async function readFlags(
  files: MemoryFiles,
  parser: SmapsParser,
): Promise<ReadMappings> {
  const mappings = await files.readSmaps(parser);
  return { mappings, joined: parser.joined, hasFlags: true };
}

/** Whether a process has hugetlb memory, which RSS does not include. */
export function mayHaveHugetlb(status: string): boolean {
  return /^HugetlbPages:\s*[1-9]/m.test(status);
}

/**
 * Whether a process has memory that is locked or hugetlb: proc_pid_status(5).
 * HugetlbPages leaves out what another process has mapped, if both share page tables.
 */
function mayHaveFlags(status: string): boolean {
  return /^(?:VmLck|HugetlbPages):\s*[1-9]/m.test(status);
}

/**
 * Runs a step on this thread while calls run on another, and waits for both even if
 * one fails.
 */
async function meanwhile<Called, Done>(
  calls: Promise<Called>,
  step: () => Done,
): Promise<[Called, Done]> {
  const [called, done] = await Promise.allSettled([calls, Promise.try(step)]);
  if (called.status === "rejected") throw called.reason;
  if (done.status === "rejected") throw done.reason;
  return [called.value, done.value];
}

/** What decides which processes may be cooled. */
export type CoolingContext = Pick<
  PageableContext,
  "hasSecondaryMmu" | "mainThreadExited"
>;

/** What decides which mappings may be cooled, which needs no swap. */
export function coolingContext(
  { hasSecondaryMmu, mainThreadExited }: CoolingContext,
): PageableContext {
  return {
    swapFree: true,
    memoryDevices: new Set(),
    hasSecondaryMmu,
    mainThreadExited,
  };
}

/** Returns whether a mapping may be cooled, by its number. */
export function mayCool(
  mappings: readonly LinuxMapping[],
  cooling: CoolingContext,
): (at: number) => boolean {
  const context = coolingContext(cooling);
  return (at) => mayBePageable(mappings[at], context);
}
