/**
 * rcap. All but the version is loaded when it is needed, so that scripts can afford to
 * ask for it.
 *
 * @module
 */

import denoJson from "./deno.json" with { type: "json" };
import { print } from "./lib/platform/output.ts";
import { lines } from "./lib/report/escape.ts";

/** Runs a command line, and returns the exit code. */
export async function main(args: string[]): Promise<number> {
  if (args.length === 1 && args[0] === "--version") {
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
