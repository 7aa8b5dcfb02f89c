/**
 * The width of text on a terminal, under the standard library's name. The npm copy
 * of the library lacks the tables for it, so it comes from a package of its own.
 *
 * @module
 */

import stringWidth from "string-width";

/** How many columns a text takes on a terminal. */
export function unicodeWidth(text: string): number {
  return stringWidth(text);
}
