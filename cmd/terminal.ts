/**
 * What is known of the terminal.
 *
 * @module
 */

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

/** The variables of the environment that say which locale there is, the first first. */
export const LOCALE_ENVIRONMENT = ["LC_ALL", "LC_CTYPE", "LANG"] as const;

/** Whether the locale says that the terminal shows UTF-8: locale(7). */
export function showsUtf8(): boolean {
  for (const name of LOCALE_ENVIRONMENT) {
    const locale = Deno.env.get(name);
    if (locale) return /utf-?8/i.test(locale);
  }
  return false;
}
