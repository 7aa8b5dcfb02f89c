/**
 * Guesses which known word an unknown word stands for.
 *
 * @module
 */

import { closestMatch } from "leven";

/** Returns the nearest of some words, if it is near enough. */
export function didYouMean<T extends string>(
  word: string,
  words: readonly T[],
): T | undefined {
  const plain = word.toLowerCase().replaceAll("-", "_");
  // Up to two slips, or one in every three letters, but fewer than the letters; two
  // swapped letters count as two.
  const slips = Math.max(2, Math.floor(word.length / 3));
  const maxDistance = Math.min(slips, word.length - 1);
  const match = closestMatch(plain, words, { maxDistance });
  return words.find((word) => word === match);
}
