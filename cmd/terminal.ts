/**
 * What is known of the terminal.
 *
 * @module
 */

import { terminalAbilities } from "../lib/platform/terminal.ts";

/** How many columns the terminal has; `undefined` if standard output is none. */
export function consoleWidth(): number | undefined {
  try {
    const { columns } = Deno.consoleSize();
    return columns > 0 ? columns : undefined;
  } catch {
    // It is not a terminal.
    return undefined;
  }
}

/** Whether the locale says that the terminal shows UTF-8. */
export function showsUtf8(): boolean {
  return terminalAbilities((name) => Deno.env.get(name)).unicode;
}
