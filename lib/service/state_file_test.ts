/**
 * Tests of formatting and parsing states.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import "../../ffi/testing.ts";
import { daemonState, groupState } from "../group/testing.ts";
import { formatState, parseState, type StateFile } from "./state_file.ts";

const STATE: StateFile = {
  ...daemonState({
    groups: [
      groupState({ idle: [{ intervals: 1, bytes: 4096 }] }),
      groupState({ warning: "why" }),
    ],
  }),
  pidNamespace: "pid:[4026531836]",
};

const seed = 20_260_101;

Deno.test("a state is read as written, with keys that another version adds", () => {
  assertEquals(parseState(formatState(STATE)), STATE);
  const unknown = { ...STATE, pidNamespace: null };
  assertEquals(parseState(formatState(unknown)), unknown);
  const later = { ...STATE, more: 1 };
  assertEquals(parseState(JSON.stringify(later)), later);
});

/** Every number in a value. */
function numbersIn(value: unknown): number[] {
  if (typeof value === "number") return [value];
  if (typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap(numbersIn);
}

Deno.test("any text is a state with valid numbers, or is not a state", () => {
  const text = formatState(STATE);
  const someNumber = fc.constantFrom(
    "-1",
    "1e999",
    "-1e999",
    "0.5",
    "null",
    "{}",
  );
  const nearlyState = fc.tuple(fc.nat(), someNumber).map(([where, number]) => {
    const places = [...text.matchAll(/(?<=:)\d[\d.]*/g)];
    const { index, 0: digits } = places[where % places.length];
    return text.slice(0, index) + number + text.slice(index + digits.length);
  });
  const damaged = fc.tuple(fc.nat(text.length), fc.string(), fc.nat(5)).map((
    [at, other, gone],
  ) => text.slice(0, at) + other + text.slice(at + gone));
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.json(), nearlyState, damaged),
      (contents) => {
        const state = parseState(contents);
        if (!state) return;
        for (const number of numbersIn(state)) {
          assert(Number.isFinite(number) && number >= 0, contents);
        }
      },
    ),
    { seed, numRuns: 5000 },
  );
});

Deno.test("a pid is in the range that the kernel uses", () => {
  for (const pid of [0, -1, 1.5, 2 ** 22 + 1, 2 ** 32 + 1, "1", null]) {
    assertEquals(parseState(JSON.stringify({ ...STATE, pid })), undefined);
  }
});
