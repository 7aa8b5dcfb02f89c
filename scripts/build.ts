/**
 * Builds `dist/rcap`, one binary with everything in it.
 *
 * @module
 */

import { PERMISSIONS } from "./permissions.ts";

const { code } = await new Deno.Command(Deno.execPath(), {
  args: [
    "compile",
    "--frozen",
    ...PERMISSIONS,
    "--output",
    "dist/rcap",
    "main.ts",
  ],
  cwd: new URL("..", import.meta.url).pathname,
  // The analysis of npm packages needs more than a thread's usual 2 MiB of stack:
  // without it, Deno 2.6.8 ends with an overflow.
  env: { RUST_MIN_STACK: String(64 * 2 ** 20) },
}).spawn().status;
if (code !== 0) {
  console.error(
    "The build failed. `deno compile` downloads a runtime for the binary unless DENORT_BIN names one.",
  );
}
Deno.exit(code);
