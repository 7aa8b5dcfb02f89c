import { assert, assertEquals } from "@std/assert";
import { Backoff, type Circumstances } from "./backoff.ts";

const MIB = 1 << 20;
const STUCK: Circumstances = {
  size: 200 * MIB,
  cap: 100 * MIB,
  membership: 3,
  hasFreeSwap: false,
};

/** The times at which a group that exceeds its cap for good is scanned, in seconds. */
function triesWithin(seconds: number, interval: number): number[] {
  const backoff = new Backoff();
  const tries: number[] = [];
  for (let now = 0; now <= seconds * 1000; now += interval) {
    if (backoff.isWaiting(now, STUCK)) continue;
    tries.push(now / 1000);
    backoff.record(true, { now, interval, circumstances: STUCK });
  }
  return tries;
}

Deno.test("a group is scanned less and less often, down to once a minute", () => {
  assertEquals(
    triesWithin(300, 5000),
    [0, 5, 10, 20, 40, 80, 140, 200, 260],
  );
});

Deno.test("intervals above a minute stay unchanged", () => {
  assertEquals(triesWithin(600, 120_000), [0, 120, 240, 360, 480, 600]);
});

Deno.test("a warning is due after three ineffective scans in a row", () => {
  const backoff = new Backoff();
  const at = { now: 0, interval: 5000, circumstances: STUCK };
  backoff.record(true, at);
  backoff.record(true, at);
  backoff.record(false, at);
  backoff.record(true, at);
  backoff.record(true, at);
  assert(!backoff.isHopeless);
  backoff.record(true, at);
  assert(backoff.isHopeless);
});

Deno.test("after any change a group is scanned again at once", () => {
  const changes: Partial<Circumstances>[] = [
    { size: STUCK.size + 3 * MIB },
    { size: STUCK.size - 3 * MIB },
    { cap: 120 * MIB },
    { membership: 4 },
    { hasFreeSwap: true },
  ];
  for (const change of changes) {
    const backoff = new Backoff();
    for (let i = 0; i < 8; i++) {
      backoff.record(true, { now: 0, interval: 5000, circumstances: STUCK });
    }
    assert(backoff.isWaiting(30_000, STUCK));
    assert(backoff.isWaiting(30_000, { ...STUCK, size: STUCK.size + MIB }));
    assert(!backoff.isWaiting(30_000, { ...STUCK, ...change }));
    assert(!backoff.isHopeless);
  }
});
