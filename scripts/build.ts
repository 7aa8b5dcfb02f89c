/**
 * Builds `dist/rcap`, one binary with everything in it.
 *
 * @module
 */

import { PERMISSIONS } from "./permissions.ts";
import { complain } from "../tests/support/say.ts";

/**
 * A daemon is to be small: little garbage before it is collected, and a way to have
 * all of it collected now and then.
 */
const V8_FLAGS = ["--max-semi-space-size=2", "--expose-gc"];

/** What `deno compile` is told. */
export const COMPILE_FLAGS: readonly string[] = [
  "--frozen",
  // The cache would be compiled code in a file of /tmp with a name that everyone
  // knows, and loaded whoever owns that file.
  "--no-code-cache",
  ...PERMISSIONS,
  `--v8-flags=${V8_FLAGS.join(",")}`,
];

if (import.meta.main) {
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: ["compile", ...COMPILE_FLAGS, "--output", "dist/rcap", "main.ts"],
    cwd: new URL("..", import.meta.url).pathname,
    // The analysis of npm packages needs more than a thread's usual 2 MiB of stack:
    // without it, Deno 2.6.8 ends with an overflow.
    env: { RUST_MIN_STACK: String(64 * 2 ** 20) },
  }).spawn().status;
  if (code !== 0) {
    complain(
      "The build failed. `deno compile` downloads a runtime for the binary unless DENORT_BIN names one.",
    );
  }
  Deno.exit(code);
}
