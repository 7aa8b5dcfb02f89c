/**
 * Text that is safe to show. Output contains text from processes and files of
 * untrusted users, and terminals act on characters that they do not show.
 *
 * Each line is escaped as a whole, so whatever it contains, it stays one line.
 * Longer texts are made of such lines. Nothing else can be printed.
 *
 * @module
 */

declare const safe: unique symbol;

/**
 * Text that may be written to a terminal: {@linkcode lines}, {@linkcode json}, or a
 * table.
 */
export type Printable = string & { readonly [safe]: true };

/**
 * Characters that a terminal does not show as such: control characters of 7 and 8
 * bits, those that change the direction of text, invisible characters, spaces other
 * than U+0020, line ends, lone surrogates, and unassigned code points. Also the
 * character that replaces bytes that are not UTF-8.
 */
const UNSAFE =
  /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\ufffd]|(?! )\p{Zs}/gu;

/**
 * Replaces the characters that a terminal does not show as such.
 *
 * @param escape returns the replacement of such a character.
 */
export function replaceUnsafe(
  text: string,
  escape: (codePoint: number) => string,
): string {
  return text.replace(UNSAFE, (match) => escape(match.codePointAt(0) ?? 0));
}

/** A number in hexadecimal, with at least this many digits. */
export function hexDigits(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}

/**
 * A text as one line for a terminal. Unsafe characters, including line ends and
 * tabs, are written as `\n`, `\t`, `\x1b`, `\u202e` or `\u{e0001}`. Escaping twice
 * changes nothing.
 */
export function escapeLine(text: string): string {
  return replaceUnsafe(text, (codePoint) => {
    if (codePoint === 0x0a) return "\\n";
    if (codePoint === 0x09) return "\\t";
    if (codePoint <= 0xff) return `\\x${hexDigits(codePoint, 2)}`;
    if (codePoint <= 0xffff) return `\\u${hexDigits(codePoint, 4)}`;
    return `\\u{${hexDigits(codePoint, 1)}}`;
  });
}

/**
 * Lines for a terminal, each with its line end. Every text of a list becomes one
 * line.
 */
export function lines(
  ...texts: readonly (string | readonly string[])[]
): Printable {
  return printable(
    texts.flat().map((text) => `${escapeLine(text)}\n`).join(""),
  );
}

/**
 * A value as JSON on one line. Characters that a terminal would act on are written
 * as `\uXXXX`, which a JSON parser reads as the same value.
 */
export function json(value: unknown): Printable {
  // Such characters occur only within strings of the JSON.
  const text = replaceUnsafe(JSON.stringify(value), (codePoint) => {
    const units = String.fromCodePoint(codePoint).split("");
    return units.map((unit) => `\\u${hexDigits(unit.charCodeAt(0), 4)}`)
      .join("");
  });
  return printable(`${text}\n`);
}

/**
 * Asserts that a text is safe: untrusted parts are escaped, and everything else,
 * such as colours, is intended.
 */
export function printable(text: string): Printable {
  // The only way to create this type, which exists only for the compiler.
  return text as Printable;
}
