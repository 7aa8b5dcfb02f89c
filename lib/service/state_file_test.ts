/**
 * Tests of formatting and parsing states.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import "../../ffi/testing.ts";
import { daemonState, groupState } from "../group/testing.ts";
import {
  formatState,
  MalformedState,
  parseState,
  type StateFile,
} from "./state_file.ts";

const STATE: StateFile = {
  ...daemonState({
    groups: [
      groupState({ idle: [{ seconds: 1, bytes: 4096 }] }),
      groupState({ warning: "why" }),
    ],
  }),
  pidNamespace: "pid:[4026531836]",
};

Deno.test("the state of an earlier daemon has no costs, and one with costs is read", () => {
  const { costs: _, ...earlier } = STATE;
  assertEquals(parseState(JSON.stringify(earlier)), STATE);
  const costs = {
    reference: 9700,
    pageIns: [{ from: "swap", device: "zram0", nanoseconds: 1e4 }],
  } as const;
  const state = { ...STATE, costs };
  assertEquals(parseState(formatState(state)), state);
  assertThrows(
    () => parseState(JSON.stringify({ ...STATE, costs: { reference: -1 } })),
    MalformedState,
    "costs",
  );
});

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

/** The state in a text; `undefined` if the text is malformed. */
function parsed(text: string): StateFile | undefined {
  try {
    return parseState(text);
  } catch (error) {
    assert(error instanceof MalformedState, String(error));
    return undefined;
  }
}

Deno.test("any text is a state with valid numbers, or is not a state", () => {
  const text = formatState(STATE);
  const someNumber = fc.constantFrom(
    "-1",
    "1e999",
    "-1e999",
    "1e300",
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
        const state = parsed(contents);
        for (const number of state ? numbersIn(state) : []) {
          assert(0 <= number && number <= Number.MAX_SAFE_INTEGER, contents);
        }
      },
    ),
    { seed, numRuns: 5000 },
  );
});

Deno.test("a pid is in the range that the kernel uses", () => {
  for (const pid of [0, -1, 1.5, 2 ** 22 + 1, 2 ** 32 + 1, "1", null]) {
    assertEquals(parsed(JSON.stringify({ ...STATE, pid })), undefined);
  }
});

Deno.test("the message says what is wrong with a malformed state, briefly", () => {
  const [group] = STATE.groups;
  const deep = "[".repeat(1_000_000);
  const cases: [text: string, message: string][] = [
    ["", "it is not JSON"],
    [deep, "it is not JSON"],
    [deep + "]".repeat(1_000_000), "it has no version"],
    ["null", "it is null, not Object"],
    ["[]", "it has no version"],
    ['{"version":"2"}', 'version is "2", not number'],
    [
      '{"version":3}',
      "it is a state in version 3 of its format, and this command reads version 2",
    ],
    [JSON.stringify({ ...STATE, pid: 0 }), "pid is 0, not >=1"],
    [
      formatState({ ...STATE, groups: [group, { ...group, rss: 1e298 }] }),
      "groups.1.rss is 1e+298, not <=9007199254740991",
    ],
    [
      JSON.stringify({ ...STATE, groups: Array(100_000).fill({ id: 1 }) }),
      "it has no groups.0.name",
    ],
    [
      JSON.stringify({ ...STATE, pagedata: 1, pid: "9".repeat(1_000_000) }),
      `pid is "${"9".repeat(59)}…, not number`,
    ],
    [
      formatState({ ...STATE, memory: { ...STATE.memory, total: 0 } }),
      "memory.total is 0, not >=1",
    ],
  ];
  for (const [text, message] of cases) {
    const error = assertThrows(() => parseState(text), MalformedState);
    assertEquals(error.message, message, text.slice(0, 100));
  }
});
