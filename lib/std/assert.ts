/**
 * The assertions of the Deno standard library that the tests use, with their
 * types: the npm copy of the library is plain JavaScript.
 *
 * @module
 */

import * as std from "deno-std/assert/mod.js";

/** Makes an assertion that `expr` is truthy. */
export const assert: (expr: unknown, msg?: string) => asserts expr = std.assert;

/** Makes an assertion that `actual` and `expected` are equal, deeply. */
export const assertEquals: <T>(actual: T, expected: T, msg?: string) => void =
  std.assertEquals;

/** Makes an assertion that `actual` includes `expected`. */
export const assertStringIncludes: (
  actual: string,
  expected: string,
  msg?: string,
) => void = std.assertStringIncludes;

/** Makes an assertion that `actual` matches `expected`. */
export const assertMatch: (
  actual: string,
  expected: RegExp,
  msg?: string,
) => void = std.assertMatch;

/** A constructor of errors, for {@linkcode assertThrows} and {@linkcode assertRejects}. */
// deno-lint-ignore no-explicit-any -- any constructor will do, whatever it takes
export type ErrorClass<E extends Error> = abstract new (...args: any[]) => E;

/** Executes a function that should throw an error of a class. */
export const assertThrows: <E extends Error>(
  fn: () => unknown,
  errorClass: ErrorClass<E>,
  msgIncludes?: string,
) => E = std.assertThrows;

/** Executes a function that should reject with an error of a class. */
export const assertRejects: <E extends Error>(
  fn: () => PromiseLike<unknown>,
  errorClass: ErrorClass<E>,
  msgIncludes?: string,
) => Promise<E> = std.assertRejects;
