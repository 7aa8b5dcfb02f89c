/**
 * Tests of the summary of a scan.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import type { SkipReason } from "../memory/process_memory.ts";
import type { ProcessReport, ScanReport } from "./scan_once.ts";
import { describeScan } from "./scan_summary.ts";

const MIB = 2 ** 20;
const RANGE = { start: "0x1000", end: "0x2000" };

const PROCESS: ProcessReport = {
  pid: 4242,
  comm: "server",
  rss: 300 * MIB,
  unreferenced: 200 * MIB,
  attempted: 200 * MIB,
  effective: 200 * MIB,
  pageouts: [{ ...RANGE, bytes: 200 * MIB, result: "done" }],
  skipped: [],
  error: null,
};

const REPORT: ScanReport = {
  version: 1,
  dryRun: false,
  pagedata: "smaps",
  observedSeconds: 2,
  accounting: "rss",
  rss: 300 * MIB,
  cap: 100 * MIB,
  excess: 200 * MIB,
  processes: [PROCESS],
  attempted: 200 * MIB,
  effective: 200 * MIB,
  rssAfter: 100 * MIB,
  capMet: true,
  workingSetToo: false,
  seconds: 0.414,
};

Deno.test("the summary of a scan that met the cap", () => {
  assertEquals(
    describeScan(REPORT),
    `
300.0M resident, 200.0M over the cap of 100.0M.
Paged out 200.0M in 1 range within 0.41 s.
Now 100.0M: the cap is met.
`,
  );
});

Deno.test("the summary of a scan that did not meet the cap lists skipped mappings", () => {
  const reasons: SkipReason[] = ["locked", "nonresident", "no-swap", "locked"];
  const skipped = reasons.map((reason) => ({ ...RANGE, reason }));
  assertEquals(
    describeScan({
      ...REPORT,
      accounting: "pss",
      processes: [{ ...PROCESS, skipped }, PROCESS],
      effective: 150 * MIB,
      rssAfter: 150 * MIB,
      capMet: false,
    }),
    `
300.0M proportional, 200.0M over the cap of 100.0M.
Paged out 150.0M of 200.0M in 2 ranges within 0.41 s.
Passed over 2 mappings: locked in memory.
Passed over 1 mapping: anonymous, and no swap is free: add swap or zram.
Now 150.0M: the cap is not met.
`,
  );
});

Deno.test("the summary of a dry run says what a scan would do", () => {
  const dryRun = { ...REPORT, dryRun: true, effective: null };
  assertEquals(
    describeScan(dryRun),
    `
Dry run: nothing was paged out, only reference bits were reset.
300.0M resident, 200.0M over the cap of 100.0M.
Would page out 200.0M in 1 range.
That would leave 100.0M: the cap would be met.
`,
  );
  assertEquals(
    describeScan({ ...dryRun, capMet: false }).split("\n").at(-2),
    "That would leave 100.0M: the cap would not be met.",
  );
});

Deno.test("the summary says if there is nothing to do", () => {
  const processes = [{ ...PROCESS, pageouts: [] }];
  assertEquals(
    describeScan({ ...REPORT, rss: 50 * MIB, excess: 0, processes }),
    `
50.0M resident, under the cap of 100.0M: nothing to do.
`,
  );
});
