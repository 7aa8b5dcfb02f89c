/**
 * Tests of guesses.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { didYouMean } from "./did_you_mean.ts";

const WORDS = ["name", "select", "max_rss", "enforcement_threshold", "cap"];

Deno.test("a word with a slip is recognized", () => {
  const guesses: Record<string, string> = {
    name: "name",
    nmae: "name",
    Names: "name",
    max_rs: "max_rss",
    "max-rss": "max_rss",
    maxRss: "max_rss",
    selectors: "select",
    caps: "cap",
    enforcementTreshhold: "enforcement_threshold",
  };
  for (const [word, guess] of Object.entries(guesses)) {
    assertEquals(didYouMean(word, WORDS), guess, word);
  }
});

Deno.test("a word with little in common with any is not", () => {
  for (const word of ["", "a", "xy", "foo", "limit", "memory", "__proto__"]) {
    assertEquals(didYouMean(word, WORDS), undefined, word);
  }
  assertEquals(didYouMean("x".repeat(100_000), WORDS), undefined);
  assertEquals(didYouMean("name", []), undefined);
});
