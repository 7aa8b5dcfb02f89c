/**
 * Tests of the dry run of a scan: it plans what a scan would page out.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { parseSelector } from "../collection/selectors.ts";
import { scanOnce } from "../oneshot/scan_once.ts";
import {
  FakeClock,
  FakePlatform,
  hot,
  PAGE,
  TICK,
} from "../platform/fake_testing.ts";
import { PageAges } from "../scanner/ages.ts";
import { describePlan, planScan } from "./scan_plan.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** The most pages that are chosen together, in bytes. */
const BLOCK = 512 * PAGE;

const { signal } = new AbortController();

/** A process with 4000 pages in use and 12,000 idle ones, which was watched for 10 s. */
async function watched() {
  const platform = new FakePlatform(new FakeClock());
  const one = platform.start("one", hot("hot"));
  one.fill("hot", 4000);
  one.fill("cold", 12_000);
  const { entry } = one;
  const memory = platform.open(entry);
  const ages = new PageAges();
  await memory.reset();
  for (let interval = 0; interval < 2; interval++) {
    await platform.clock.advance(5000);
    ages.advance(await memory.readPagedata(), 5);
  }
  return { platform, process: { entry, ages, unjudged: 0 } };
}

for (
  const { pages, says } of [
    { pages: 20_000, says: /It would do nothing: it is below that/ },
    { pages: 10_000, says: /not used for {5}10s or longer, all of that/ },
    { pages: 2000, says: /in use {11}\d+\.\dM of that, which would go, too/ },
  ]
) {
  Deno.test(`a scan to ${pages} of 16000 pages does what a dry run of scan says`, async () => {
    const { platform, process } = await watched();
    const size = pages * PAGE;
    const bits = process.ages.pagedata?.bits.slice();
    const plan = await planScan([process], {
      name: "one",
      size,
      platform,
      signal,
    });
    assertEquals(plan.resident, 16_000 * PAGE);
    const excess = Math.max(0, plan.resident - size);
    // Neighbours of one age go together.
    assert(
      plan.goes >= excess && plan.goes <= excess + Math.sign(excess) * BLOCK,
      `${plan.goes / PAGE} pages`,
    );
    assertEquals(plan.inUse, Math.max(0, plan.goes - 12_000 * PAGE));
    assertEquals(
      plan.leastAge,
      plan.goes === 0 ? null : plan.inUse > 0 ? 0 : 10,
    );
    // The ages are as they were, for the next reading.
    assertEquals(process.ages.pagedata?.bits, bits);
    assertEquals(process.ages.isStale, false);
    const report = await platform.clock.finish(
      scanOnce({
        selectors: [parseSelector("comm:one")],
        goal: { cap: size },
        dryRun: true,
        observation: 2000,
        policy: "coldest",
        signal,
        log: { warn() {}, info() {}, debug() {} },
        platform,
        clock: platform.clock,
      }),
      TICK,
    );
    assertEquals(report.attempted, plan.goes);
    assertEquals(report.workingSetToo, plan.inUse > 0);
    assertMatch(describePlan(plan).join("\n"), says);
  });
}

Deno.test("what is not observed stays, and is counted", async () => {
  const { platform, process } = await watched();
  const other = platform.start("two", hot("hot"));
  other.fill("hot", 1000);
  const plan = await planScan([
    process,
    { entry: other.entry, ages: undefined, unjudged: 0 },
  ], { name: "both", size: 100 * PAGE, platform, signal });
  assertEquals([plan.resident, plan.goes, plan.unobserved], [
    17_000 * PAGE,
    16_000 * PAGE,
    1,
  ]);
  assert(
    describePlan(plan).includes(
      "the size would not be reached: 3.5M too much stays",
    ),
  );
});
