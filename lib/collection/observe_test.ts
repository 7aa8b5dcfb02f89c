/**
 * Tests of observing, on a clock of the test's own.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { watch } from "./observe.ts";

/** Runs something while timers expire at once, and the clock is where they say. */
async function onOwnClock(
  run: (now: () => number) => Promise<void>,
): Promise<void> {
  const { setTimeout } = globalThis;
  const { now } = performance;
  let time = 0;
  const timers = (callback: () => void, milliseconds: number) => {
    time += Math.max(0, milliseconds);
    queueMicrotask(callback);
    return 0;
  };
  Object.assign(globalThis, { setTimeout: timers });
  performance.now = () => time;
  try {
    await run(() => time);
  } finally {
    Object.assign(globalThis, { setTimeout });
    performance.now = now;
  }
}

/** How often what is in use is used, in milliseconds. */
const USE = 25;

/**
 * Memory in use on a machine whose processor keeps references to itself until
 * they are refreshed, while others reset them once in a while.
 *
 * @param period how often they do, in milliseconds.
 * @param phase when they do first.
 */
function memoryInUse(
  now: () => number,
  { period, phase }: { period: number; phase: number },
) {
  let refreshed = 0;
  let isSeen = false;
  return {
    wasSeen: () => isSeen,
    refresh() {
      refreshed = now();
      return Promise.resolve();
    },
    glance() {
      const noted = refreshed + USE;
      const resets = Math.floor((now() - phase) / period) -
        Math.floor((noted - phase) / period);
      isSeen ||= now() >= noted && resets === 0;
      return Promise.resolve();
    },
  };
}

Deno.test("memory in use is seen, whenever others reset references", async () => {
  const missed: string[] = [];
  await onOwnClock(async (now) => {
    const { signal } = new AbortController();
    for (const milliseconds of [2000, 2500, 3000, 10_000]) {
      for (const period of [200, 500, 1000]) {
        for (let phase = 0; phase < period; phase += 10) {
          const began = now();
          const memory = memoryInUse(() => now() - began, { period, phase });
          await watch([memory], { milliseconds, what: "it", signal });
          await memory.glance();
          if (!memory.wasSeen()) {
            missed.push(`${phase} of ${period} in ${milliseconds}`);
          }
        }
      }
    }
  });
  assertEquals(missed, []);
});
