/**
 * Text that is safe to show: what stands in it comes from processes and files of
 * people who are not trusted, and terminals act on more characters than they show.
 *
 * A line is a line, whatever was put into it: what consists of several is made of
 * lines, each escaped as a whole. Nothing else can be printed.
 *
 * @module
 */

declare const safe: unique symbol;

/** Text that may go to a terminal: {@linkcode lines}, {@linkcode json}, or a table. */
export type Printable = string & { readonly [safe]: true };

/**
 * What a terminal does not show as a character of its own: control characters of
 * 7 and 8 bits, those that change the direction of text, invisible ones, spaces
 * other than the usual one, ends of lines, lone surrogates, and what Unicode has
 * assigned to nobody. And the character that stands for bytes that are no UTF-8.
 */
const UNSAFE =
  /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\ufffd]|(?! )\p{Zs}/gu;

/**
 * A text without the characters that a terminal does not show as such.
 *
 * @param escape what to write in the place of such a character.
 */
export function replaceUnsafe(
  text: string,
  escape: (codePoint: number) => string,
): string {
  return text.replace(UNSAFE, (match) => escape(match.codePointAt(0) ?? 0));
}

/** A number in hexadecimal digits, at least so many. */
export function hexDigits(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}

/**
 * A text as one line of a terminal: what is unsafe in it, ends of lines and tabs
 * too, is written as `\n`, `\t`, `\x1b`, `\u202e` or `\u{e0001}`. To escape it
 * twice changes nothing.
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

/** Lines for a terminal, each with its end; of a list, every text is one. */
export function lines(
  ...texts: readonly (string | readonly string[])[]
): Printable {
  return printable(
    texts.flat().map((text) => `${escapeLine(text)}\n`).join(""),
  );
}

/**
 * A value as JSON, on a line. What a terminal would act on is written as `\uXXXX`,
 * which is the same value to whoever reads it.
 */
export function json(value: unknown): Printable {
  // Stands in strings only: JSON itself is of other characters.
  const text = replaceUnsafe(JSON.stringify(value), (codePoint) => {
    const units = String.fromCodePoint(codePoint).split("");
    return units.map((unit) => `\\u${hexDigits(unit.charCodeAt(0), 4)}`)
      .join("");
  });
  return printable(`${text}\n`);
}

/**
 * Vouches for a text: that of strangers in it is escaped, and all else is meant,
 * colours for instance.
 */
export function printable(text: string): Printable {
  // The only way to the type, which exists for the compiler alone.
  return text as Printable;
}
