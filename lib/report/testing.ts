/**
 * Support for tests of output.
 *
 * @module
 */

/**
 * The first character of a text that a terminal does not show as such; `undefined`
 * if there is none. Line ends are allowed.
 */
export function firstUnsafe(text: string): string | undefined {
  return Array.from(text).find((character) => {
    const code = character.codePointAt(0) ?? 0;
    const isFine = code === 0x0a || code >= 0x20 && code < 0x7f ||
      code > 0xa0 && code !== 0xfffd &&
        !/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Zs}]/u.test(character);
    return !isFine;
  });
}
