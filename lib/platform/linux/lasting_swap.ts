/**
 * Finds out what adds swap when the machine starts: lines of fstab(5), and units of
 * systemd.swap(5), among them those that generators such as zram-generator(8) have made.
 *
 * @module
 */

import { readDirectory, readTextFileIfAny } from "../../../ffi/file.ts";
import { isMissing, SystemError } from "../../errors.ts";

/** Where units that start are linked or generated: systemd.unit(5). */
const UNIT_FOLDERS = [
  "/etc/systemd/system",
  "/run/systemd/generator.early",
  "/run/systemd/generator",
  "/run/systemd/generator.late",
  "/usr/local/lib/systemd/system",
  "/usr/lib/systemd/system",
  "/lib/systemd/system",
];

/** The folders of a unit folder that name what is started. */
const WANTING = ["swap.target", "multi-user.target"]
  .flatMap((target) => [`${target}.wants`, `${target}.requires`]);

/** Units that make swap and are not of the type swap: Debian's zram-tools. */
const SERVICES = ["zramswap.service"];

/**
 * Returns what adds swap when the machine starts, for people; empty if nothing is found.
 * A script of the administrator's own is not found.
 *
 * @param root where the file system of the machine begins.
 */
export function lastingSwap(root = ""): string[] {
  const units = UNIT_FOLDERS.flatMap((folder) =>
    WANTING.flatMap((wanting) => namesIn(`${root}${folder}/${wanting}`))
  ).filter((name) => name.endsWith(".swap") || SERVICES.includes(name));
  const lines = (readTextFileIfAny(`${root}/etc/fstab`) ?? "").split("\n")
    .filter(isSwapLine)
    .map((line) => `${line.trim().split(/\s+/)[0]} (/etc/fstab)`);
  // systemd makes a unit of each line.
  const found = lines.length > 0
    ? units.filter((name) => SERVICES.includes(name) || name.includes("zram"))
    : units;
  return Array.from(new Set([...lines, ...found]));
}

function isSwapLine(line: string): boolean {
  const [device, , type, options = ""] = line.trim().split(/\s+/);
  return !device.startsWith("#") && type === "swap" &&
    !options.split(",").includes("noauto");
}

/** The names in a folder, none if there is no such folder. */
function namesIn(folder: string): string[] {
  try {
    return readDirectory(folder);
  } catch (error) {
    if (error instanceof SystemError && isMissing(error)) return [];
    throw error;
  }
}
