/**
 * Pages out everything of a process and its descendants repeatedly: the baseline
 * without knowledge of what is in use.
 *
 * `naive.ts PID SECONDS`
 *
 * @module
 */

import { selectProcesses } from "../../lib/collection/members.ts";
import { parseSelector } from "../../lib/collection/selectors.ts";
import { ProcessError } from "../../lib/errors.ts";
import { openPlatform } from "../../lib/platform/system_testing.ts";

const [pid, seconds] = Deno.args.map(Number);
const selectors = [parseSelector(`tree:${pid}`)];
using platform = openPlatform("smaps", () => {});
for (;;) {
  const began = performance.now();
  const { processes } = await selectProcesses(selectors, platform);
  for (const entry of processes) {
    try {
      const memory = platform.open(entry);
      const mappings = await memory.readMappings();
      using control = await memory.control();
      await control.pageOut(
        mappings.filter(({ reason }) => reason === undefined)
          .map(({ start, end, rss }) => ({
            start,
            end,
            bytes: rss,
            mappingStart: start,
          })),
      );
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
    }
  }
  const rest = seconds * 1000 - (performance.now() - began);
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, rest)));
}
