/**
 * Runs command lines of rcap one after another in one process: a list of lists of
 * arguments, as JSON. After each, a line with its exit code is written to both
 * streams.
 *
 * @module
 */

import { flushMessages, print, printError } from "../../lib/platform/output.ts";
import { lines } from "../../lib/report/escape.ts";
import { main } from "../../main.ts";

const signal = new AbortController().signal;
for (const args of JSON.parse(Deno.args[0])) {
  const end = `exit ${await main(args)}`;
  await print([lines(end)], signal);
  printError(end);
  await flushMessages(60_000);
}
Deno.exit(0);
