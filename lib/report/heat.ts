/**
 * Heat: how much, as a strip of cells, one for each of some counts, the more the fuller.
 *
 * @module
 */

import { type Printable, printable } from "./escape.ts";

/** Cells from empty to full. A count above 0 is never drawn as empty. */
const BLOCKS = [..." ▁▂▃▄▅▆▇█"];
const LETTERS = [..." .:-=+*#@"];

/** Colours from cold to hot of the palette of 256 that xterm has: blue, green, yellow, red. */
const COLORS = [0, 25, 31, 36, 71, 148, 214, 202, 196];

/** How heat is drawn. */
export interface HeatOptions {
  /** What a full cell stands for; the greatest count by default. */
  readonly most?: number;
  /** Whether the terminal shows UTF-8; otherwise ASCII is used. */
  readonly unicode: boolean;
  /** Whether cells have colours. */
  readonly color: boolean;
}

/** Returns the level of a count: 0 for none, up to 8 for `most` or more. */
export function heatLevel(count: number, most: number): number {
  if (!(count > 0)) return 0;
  if (!(most > 0)) return BLOCKS.length - 1;
  const level = Math.ceil(count / most * (BLOCKS.length - 1));
  return Math.min(Math.max(level, 1), BLOCKS.length - 1);
}

/** Returns the character of a level. */
export function heatCharacter(level: number, unicode: boolean): string {
  return (unicode ? BLOCKS : LETTERS)[level];
}

/** Returns the colour of a level, as its number in the palette of 256. */
export function heatColor(level: number): number {
  return COLORS[level];
}

/**
 * Draws a strip of as many cells as there are counts. Each is a character wide.
 *
 * @param counts not negative.
 */
export function heatStrip(
  counts: ArrayLike<number>,
  { most = largest(counts), unicode, color }: HeatOptions,
): Printable {
  let strip = "";
  let before = 0;
  for (let at = 0; at < counts.length; at++) {
    const level = heatLevel(counts[at], most);
    if (color && level !== before) {
      strip += level === 0 ? "\x1b[39m" : `\x1b[38;5;${heatColor(level)}m`;
      before = level;
    }
    strip += heatCharacter(level, unicode);
  }
  return printable(before === 0 ? strip : `${strip}\x1b[39m`);
}

function largest(counts: ArrayLike<number>): number {
  let most = 0;
  for (let at = 0; at < counts.length; at++) most = Math.max(most, counts[at]);
  return most;
}
