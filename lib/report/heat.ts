/**
 * Heat: how much of some memory was used, as a strip of cells.
 *
 * @module
 */

import { type Printable, printable } from "./escape.ts";

/** Cells by level, from not used at all to all used. */
const UNICODE = [..."·░▒▓█"];
const ASCII = [...".:+*#"];
/** The share up to which each level goes; above all of them, the last. */
const STEPS = [0.001, 0.25, 0.5, 0.75];
/** The colour of each level, from dark blue to bright yellow, of xterm's palette of 256. */
const COLORS = [238, 24, 30, 172, 226];

/** How heat is drawn. */
export interface HeatOptions {
  /** Whether the terminal shows UTF-8; otherwise ASCII is used. */
  readonly unicode: boolean;
  /** Whether cells have colours. */
  readonly color: boolean;
}

/** Returns the level of a share: 0 for none, up to 4 for nearly all. */
function levelOf(share: number): number {
  let level = 0;
  while (level < STEPS.length && share > STEPS[level]) level++;
  return level;
}

/**
 * Draws a strip: a cell for each share, one character wide.
 *
 * @param shares 0 to 1; null where there is no memory, which is blank.
 */
export function heatStrip(
  shares: readonly (number | null)[],
  { unicode, color }: HeatOptions,
): Printable {
  const cells = unicode ? UNICODE : ASCII;
  let strip = "";
  let before = -1;
  for (const share of shares) {
    const level = share === null ? -1 : levelOf(share);
    if (color && level !== before) {
      strip += level < 0 ? "\x1b[39m" : `\x1b[38;5;${COLORS[level]}m`;
      before = level;
    }
    strip += level < 0 ? " " : cells[level];
  }
  return printable(before < 0 ? strip : `${strip}\x1b[39m`);
}

/** What the cells mean. */
export function heatLegend({ unicode }: Pick<HeatOptions, "unicode">): string {
  const cells = unicode ? UNICODE : ASCII;
  const last = cells.length - 1;
  return cells.map((cell, level) =>
    level === 0
      ? `${cell} not used`
      : level === last
      ? `${cell} all used`
      : cell
  ).join(" ");
}
