/**
 * What `--help` says of the exit codes of a command.
 *
 * @module
 */

import { EXIT_CODES, type ExitCodeName } from "../lib/errors.ts";

/** How wide the lines of help are at the most. */
const WIDTH = 80;

/**
 * The exit codes of a command, a line each in their order.
 *
 * @param meanings what each code means with this command; `true` for its meaning
 * with every command.
 */
export function exitStatusHelp(
  meanings: Readonly<Partial<Record<ExitCodeName, string | true>>>,
): string {
  const rows = Object.entries(EXIT_CODES).flatMap(([name, entry]) => {
    const { code, meaning } = entry;
    // Names of the table alone are keys of it.
    const own = meanings[name as ExitCodeName];
    if (own === undefined) return [];
    return wrap(own === true ? meaning : own, WIDTH - INDENT).map((line, at) =>
      (at === 0 ? `  ${code}` : "").padEnd(INDENT) + line
    );
  });
  return ["Exit status:", ...rows].join("\n");
}

/** Where the meanings begin: behind two spaces and up to three digits. */
const INDENT = 7;

/** Breaks a text into lines of at most so many characters. */
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
