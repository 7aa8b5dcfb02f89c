/**
 * Guesses what was meant by a word that is none of those there are.
 *
 * @module
 */

import { closestMatch } from "leven";

/** The nearest of some words, if it is near enough to have been meant. */
export function didYouMean<T extends string>(
  word: string,
  words: readonly T[],
): T | undefined {
  const plain = word.toLowerCase().replaceAll("-", "_");
  // A slip or two, or one in every three letters, but not all of them; two letters
  // in the wrong order count as two.
  const slips = Math.max(2, Math.floor(word.length / 3));
  const maxDistance = Math.min(slips, word.length - 1);
  const match = closestMatch(plain, words, { maxDistance });
  return words.find((word) => word === match);
}
