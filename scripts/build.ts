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
}).spawn().status;
if (code !== 0) {
  console.error(
    "The build failed. `deno compile` downloads a runtime for the binary unless DENORT_BIN names one.",
  );
}
Deno.exit(code);
