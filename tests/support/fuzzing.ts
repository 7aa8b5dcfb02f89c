/**
 * Help for fuzz tests: texts and bytes that look right and are not. What fails is
 * printed with its seed; `RCAP_FUZZ_SEED` repeats it.
 *
 * @module
 */

import fc from "fast-check";

/** Where random inputs begin. */
export function fuzzSeed(): number {
  return Number(Deno.env.get("RCAP_FUZZ_SEED") ?? Date.now() % 2 ** 31);
}

/** Runs a step on many inputs. */
export function fuzz<T>(
  inputs: fc.Arbitrary<T>,
  numRuns: number,
  step: (input: T) => void,
): void {
  fc.assert(fc.property(inputs, step), { numRuns, seed: fuzzSeed() });
}

/** Where something is damaged: a share of the whole, so that it fits every sample. */
const share = fc.double({ min: 0, max: 1, noNaN: true });

/** What is put in: what numbers, names and separators turn into elsewhere. */
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
 * Samples with some damage, parts of others in them, and pure noise.
 *
 * @param samples as the real thing is.
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

/** A sample of bytes with some of them changed, taken away or doubled. */
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
 * Every number in a value that is negative, infinite or none.
 *
 * @returns where, for a message.
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
