/**
 * What tests of output have in common.
 *
 * @module
 */

/**
 * The first character of a text, from which on a terminal shows something else than
 * the characters one by one; `undefined` when there is none. Ends of lines are fine.
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
