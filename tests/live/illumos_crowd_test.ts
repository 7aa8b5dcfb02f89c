/**
 * Test of many processes on illumos with few descriptors.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { allow } from "../support/deadline.ts";
import { assertFree, Crowd, illumosForTests } from "../support/illumos.ts";
import { requireRoot } from "../support/live.ts";
import { say } from "../support/say.ts";

requireRoot();

const illumos = await illumosForTests();

const PROCESSES = 300;
const DESCRIPTORS = 64;
const SCANS = 300;

Deno.test(`${PROCESSES} processes, ${DESCRIPTORS} descriptors, ${SCANS} scans`, async () => {
  await allow(600);
  await using crowd = await Crowd.start(illumos, {
    count: PROCESSES,
    kilobytes: 64,
  });
  const began = performance.now();
  const result = await illumos.driven<{
    opened: number;
    revoked: number;
    capacity: number;
    most: number;
    errors: number;
    scans: number;
    leaked: number;
  }>("crowd", { pids: crowd.pids, rounds: SCANS }, { limit: DESCRIPTORS });
  const seconds = (performance.now() - began) / 1000;
  say(`${JSON.stringify(result)} in ${seconds.toFixed(0)} s`);
  const { opened, revoked, capacity, most, errors, scans, leaked } = result;
  assertEquals({ errors, scans, leaked }, {
    errors: 0,
    scans: SCANS,
    leaked: 0,
  });
  assert(capacity <= DESCRIPTORS - 10, "ten are kept free for a grab");
  assert(most <= capacity, `${most} of ${capacity}`);
  // Every descriptor beyond the limit was revoked for another.
  assert(revoked > 1000, `${revoked} revoked`);
  assert(opened - revoked <= capacity, `${opened} opened, ${revoked} revoked`);
  for (const pid of crowd.pids) assertFree(pid, "after the scans");
});
