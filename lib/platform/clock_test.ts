/**
 * Tests of the system's clock.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { systemClock } from "./clock.ts";

Deno.test("no timer is set to a time that the runtime would warn of and replace", async () => {
  const { setTimeout } = globalThis;
  const delays: number[] = [];
  try {
    Object.assign(globalThis, {
      setTimeout(step: () => void, delay = 0) {
        delays.push(delay);
        return setTimeout(step, 0);
      },
    });
    for (const time of [-Infinity, -1e9, -0.001, 0, 1, 2 ** 31, Infinity]) {
      await systemClock.sleep(time);
    }
  } finally {
    globalThis.setTimeout = setTimeout;
  }
  assertEquals(delays, [0, 0, 0, 0, 1, 2 ** 31 - 1, 2 ** 31 - 1]);
});

Deno.test("a wait that is longer than a timer can be goes on until it is aborted", async () => {
  for (const time of [2 ** 31, 2 ** 53, Infinity]) {
    const controller = new AbortController();
    let isOver = false;
    const wait = systemClock.sleep(time, controller.signal)
      .then(() => isOver = true);
    await systemClock.sleep(20);
    assert(!isOver, `${time}`);
    controller.abort();
    await wait;
  }
});
