/**
 * What tests, benchmarks and scripts say. They have no part in rcap's own output,
 * which `lib/platform/output.ts` writes.
 *
 * @module
 */

/** Writes a line to standard output. */
export function say(...words: unknown[]): void {
  // deno-lint-ignore no-console -- the one place for programs that are not rcap
  console.log(...words);
}

/** Writes a line to standard error. */
export function complain(...words: unknown[]): void {
  // deno-lint-ignore no-console -- the one place for programs that are not rcap
  console.error(...words);
}
