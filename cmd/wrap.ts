/**
 * Help that fits a terminal of the usual width.
 *
 * @module
 */

/** The greatest width of help, in columns. */
export const HELP_WIDTH = 80;

/**
 * Breaks a text at spaces into lines of at most `width` characters.
 *
 * @param used how many characters the first line has already.
 */
export function wrap(text: string, width: number, used = 0): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const room = lines.length > 1 ? width : width - used;
    const longer = `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && longer.length <= room) {
      lines[lines.length - 1] = longer;
    } else {
      lines.push(word);
    }
  }
  return lines;
}
