/**
 * Tests of observation on a simulated clock.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import type { Clock } from "../platform/clock.ts";
import { watch } from "./observe.ts";

/** A clock on which every wait is over at once. */
class QuickClock implements Clock {
  #time = 0;

  now(): number {
    return this.#time;
  }

  wallTime(): number {
    return this.#time / 1000;
  }

  sleep(milliseconds: number): Promise<void> {
    this.#time += Math.max(0, milliseconds);
    return Promise.resolve();
  }
}

/** How often memory in use is referenced, in milliseconds. */
const USE = 25;

/**
 * Memory in use on a machine whose processor does not show references again until
 * they are refreshed, while others reset them periodically.
 *
 * @param period time between resets, in milliseconds.
 * @param phase time of the first reset, in milliseconds.
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

Deno.test("memory in use is seen whenever others reset references", async () => {
  const missed: string[] = [];
  const clock = new QuickClock();
  const { signal } = new AbortController();
  for (const milliseconds of [2000, 2500, 3000, 10_000]) {
    for (const period of [200, 500, 1000]) {
      for (let phase = 0; phase < period; phase += 10) {
        const began = clock.now();
        const memory = memoryInUse(() => clock.now() - began, {
          period,
          phase,
        });
        await watch([memory], { milliseconds, what: "it", signal, clock });
        await memory.glance();
        if (!memory.wasSeen()) {
          missed.push(`${phase} of ${period} in ${milliseconds}`);
        }
      }
    }
  }
  assertEquals(missed, []);
});
