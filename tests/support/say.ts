/**
 * Output of tests, benchmarks and scripts. rcap's own output is written by
 * `lib/platform/output.ts`.
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
