/**
 * Helpers for the tests of the Linux platform.
 *
 * @module
 */

import type { LinuxMapping } from "./linux_mapping.ts";
import { SmapsParser } from "./smaps.ts";

/**
 * Parses a complete text of smaps or maps.
 *
 * @throws SyntaxError if a line is not one of smaps or maps.
 */
export function parseSmaps(text: Uint8Array<ArrayBuffer>): LinuxMapping[] {
  const parser = new SmapsParser();
  parser.push(text);
  return parser.end();
}
