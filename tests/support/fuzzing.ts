/**
 * Support for fuzz tests: texts and bytes that look valid but are not. A failure is
 * printed with its seed; `RCAP_FUZZ_SEED` reproduces it.
 *
 * @module
 */

import fc from "fast-check";

/** The seed of random inputs. */
export function fuzzSeed(): number {
  return Number(Deno.env.get("RCAP_FUZZ_SEED") ?? Date.now() % 2 ** 31);
}

/** Runs a step on many random inputs. */
export function fuzz<T>(
  inputs: fc.Arbitrary<T>,
  numRuns: number,
  step: (input: T) => void,
): void {
  fc.assert(fc.property(inputs, step), { numRuns, seed: fuzzSeed() });
}

/** The place of damage as a share of the length, so that it applies to every sample. */
const share = fc.double({ min: 0, max: 1, noNaN: true });

/** Insertions that affect numbers, names and separators. */
const insertion = fc.oneof(
  fc.constant(""),
  fc.constantFrom(
    "-1",
    "-",
    "0",
    "NaN",
    "1e999",
    "Infinity",
    "0x10",
    "9".repeat(30),
    "9".repeat(400),
    " ",
    "\n",
    "\t",
    "\0",
    ":",
    "(",
    ")",
    "\\012",
    "\x1b[2J",
    "\u202e",
    "__proto__",
  ),
  fc.string({ unit: "binary", maxLength: 8 }),
);

/**
 * Samples with damage or with parts of other samples, and pure noise.
 *
 * @param samples valid texts.
 */
export function damagedTexts(
  samples: readonly [string, ...string[]],
): fc.Arbitrary<string> {
  const sample = fc.constantFrom(...samples);
  const damage = fc.record({
    at: share,
    removed: fc.oneof(fc.nat(4), fc.nat(400)),
    inserted: fc.oneof(
      { weight: 4, arbitrary: insertion },
      // A part of a sample.
      fc.tuple(sample, share, fc.nat(200)).map(([text, at, length]) => {
        const start = Math.floor(at * text.length);
        return text.slice(start, start + length);
      }),
    ),
  });
  const damaged = fc.tuple(
    sample,
    fc.array(damage, { minLength: 1, maxLength: 5 }),
  ).map(([text, damages]) =>
    damages.reduce((text, { at, removed, inserted }) => {
      const start = Math.floor(at * text.length);
      return text.slice(0, start) + inserted + text.slice(start + removed);
    }, text)
  );
  return fc.oneof(
    { weight: 9, arbitrary: damaged },
    fc.string({ unit: "binary", maxLength: 400 }),
  );
}

/** A sample of bytes, some of which are changed, removed or duplicated. */
export function damagedBytes(
  sample: Uint8Array<ArrayBuffer>,
): fc.Arbitrary<Uint8Array<ArrayBuffer>> {
  const damage = fc.record({
    at: share,
    value: fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)),
    kind: fc.constantFrom("set", "set", "set", "cut", "double"),
  });
  return fc.array(damage, { minLength: 1, maxLength: 8 }).map((damages) => {
    let bytes = sample.slice();
    for (const { at, value, kind } of damages) {
      const place = Math.floor(at * bytes.length);
      if (kind === "set" && place < bytes.length) bytes[place] = value;
      if (kind === "cut") bytes = bytes.slice(0, place);
      if (kind === "double") {
        bytes = Uint8Array.of(...bytes.subarray(0, place), ...bytes);
      }
    }
    return bytes;
  });
}

/**
 * Finds the numbers in a value that are negative, infinite or NaN.
 *
 * @returns their places, for a message.
 */
export function badNumbers(value: unknown, place = "it"): string[] {
  if (typeof value === "number") {
    return Number.isFinite(value) && value >= 0 ? [] : [`${place} is ${value}`];
  }
  if (typeof value === "bigint") {
    return value < 0n ? [`${place} is ${value}`] : [];
  }
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, part]) =>
    badNumbers(part, `${place}.${key}`)
  );
}
