/**
 * Help for the tests of the Linux platform.
 *
 * @module
 */

import type { LinuxMapping } from "./linux_mapping.ts";
import { SmapsParser } from "./smaps.ts";

/**
 * Parses a whole text of smaps, or of maps.
 *
 * @throws SyntaxError when a line is neither.
 */
export function parseSmaps(text: Uint8Array<ArrayBuffer>): LinuxMapping[] {
  const parser = new SmapsParser();
  parser.push(text);
  return parser.end();
}
