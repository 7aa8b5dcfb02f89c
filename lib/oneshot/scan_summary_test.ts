/**
 * Tests of the summary of a scan.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import type { ProcessReport, ScanReport } from "./scan_once.ts";
import { describeScan } from "./scan_summary.ts";

const MIB = 2 ** 20;
const RANGE = { start: "0x1000", end: "0x2000" };

const PROCESS: ProcessReport = {
  pid: 4242,
  comm: "server",
  rss: 300 * MIB,
  unreferenced: 200 * MIB,
  observationCost: null,
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
  stayed: [],
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

Deno.test("the summary of a scan that did not meet the cap says what stayed and why", () => {
  assertEquals(
    describeScan({
      ...REPORT,
      accounting: "pss",
      processes: [PROCESS, PROCESS],
      effective: 150 * MIB,
      rssAfter: 150 * MIB,
      capMet: false,
      stayed: [
        { reason: "locked", bytes: 90 * MIB },
        { reason: "no-swap", bytes: 50 * MIB },
        {
          reason: "swap-limit",
          bytes: 40 * MIB,
          limit: "cgroup /x may not swap (memory.swap.max is 0)",
        },
        { reason: null, bytes: 10 * MIB },
      ],
    }),
    `
300.0M proportional, 200.0M over the cap of 100.0M.
Paged out 150.0M of 200.0M in 2 ranges within 0.41 s.
Stayed: 90.0M locked in memory.
Stayed: 50.0M anonymous, and no swap is free: add swap or zram.
Stayed: 40.0M anonymous: cgroup /x may not swap (memory.swap.max is 0).
Stayed: 10.0M in use again, or for a reason that is not known.
Now 150.0M: the cap is not met.
`,
  );
});

Deno.test("a size over the cap reads as more in the whole summary", () => {
  const rssAfter = 100 * MIB + 8192;
  const report = { ...REPORT, rssAfter, capMet: false };
  assertEquals(
    describeScan(report).split("\n").slice(1),
    [
      "300.00M resident, 200.0M over the cap of 100.00M.",
      "Paged out 200.0M in 1 range within 0.41 s.",
      "Now 100.01M: the cap is not met.",
      "",
    ],
  );
});

Deno.test("the summary of a scan that took nothing does not say that anything went", () => {
  const processes = [{ ...PROCESS, pageouts: [], attempted: 0, effective: 0 }];
  const none = { ...REPORT, processes, attempted: 0, effective: 0 };
  const stayed = [{ reason: "hugetlb" as const, bytes: 300 * MIB }];
  const report = { ...none, rssAfter: 300 * MIB, capMet: false, stayed };
  assertEquals(
    describeScan(report),
    `
300.0M resident, 200.0M over the cap of 100.0M.
Paged out nothing within 0.41 s.
Stayed: 300.0M in huge pages of hugetlb, which cannot be paged out.
Now 300.0M: the cap is not met.
`,
  );
  assertEquals(
    describeScan({ ...report, dryRun: true, effective: null }).split("\n")[3],
    "Would page out nothing.",
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
