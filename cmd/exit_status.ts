/**
 * The exit codes of a command, as `--help` lists them.
 *
 * @module
 */

import { EXIT_CODES, type ExitCodeName } from "../lib/errors.ts";
import { HELP_WIDTH, wrap } from "./wrap.ts";

/**
 * Formats the exit codes of a command, one per entry, in ascending order.
 *
 * @param meanings what each code means for this command; `true` stands for its
 * general meaning.
 */
export function exitStatusHelp(
  meanings: Readonly<Partial<Record<ExitCodeName, string | true>>>,
): string {
  const rows = Object.entries(EXIT_CODES).flatMap(([name, entry]) => {
    const { code, meaning } = entry;
    // The keys of EXIT_CODES are its names.
    const own = meanings[name as ExitCodeName];
    if (own === undefined) return [];
    return wrap(own === true ? meaning : own, HELP_WIDTH - INDENT).map((
      line,
      at,
    ) => (at === 0 ? `  ${code}` : "").padEnd(INDENT) + line);
  });
  return ["Exit status:", ...rows].join("\n");
}

/** The column where meanings begin: after two spaces and up to three digits. */
const INDENT = 7;
