/**
 * Builds `dist/rcap`, one binary with everything in it.
 *
 * The permissions that the program runs with are set here: foreign functions,
 * which everything goes through, and the environment variables that say whether
 * colours are wanted.
 *
 * @module
 */

const PERMISSIONS = ["--no-prompt", "--allow-ffi", "--allow-env=NO_COLOR"];

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
