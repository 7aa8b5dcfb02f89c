/**
 * rcap. All but the version is loaded when it is needed, so that scripts can afford to
 * ask for it.
 *
 * @module
 */

import denoJson from "./deno.json" with { type: "json" };
import { print } from "./lib/platform/output.ts";
import { lines } from "./lib/report/escape.ts";

/** The command lines that print the version and need nothing else. */
const VERSION_WORDS: readonly string[] = ["-V", "--version", "version"];

/** Runs a command line, and returns the exit code. */
export async function main(args: string[]): Promise<number> {
  if (args.length === 1 && VERSION_WORDS.includes(args[0])) {
    try {
      await print([lines(denoJson.version)], new AbortController().signal);
      return 0;
    } catch {
      // The same fails below, where errors become messages.
    }
  }
  const [{ runProgram }, { operatingSystem }] = await Promise.all([
    import("./cmd/program.ts"),
    import("./lib/platform/open.ts"),
  ]);
  return await runProgram(args, operatingSystem);
}

if (import.meta.main) {
  Deno.exit(await main(Deno.args));
}
