/**
 * The exit codes of a command, as `--help` lists them.
 *
 * @module
 */

import { EXIT_CODES, type ExitCodeName } from "../lib/errors.ts";

/** The maximal width of help, in columns. */
const WIDTH = 80;

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
    return wrap(own === true ? meaning : own, WIDTH - INDENT).map((line, at) =>
      (at === 0 ? `  ${code}` : "").padEnd(INDENT) + line
    );
  });
  return ["Exit status:", ...rows].join("\n");
}

/** The column where meanings begin: after two spaces and up to three digits. */
const INDENT = 7;

/** Breaks a text into lines of at most `width` characters. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && longer.length <= width) {
      lines[lines.length - 1] = longer;
    } else {
      lines.push(word);
    }
  }
  return lines;
}
