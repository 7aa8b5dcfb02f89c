/**
 * Tests of how an idle time finds itself.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { IdleTime } from "./idle_time.ts";

/** Lets some minutes pass in each of which some pages are used again after a time. */
function pass(
  time: IdleTime,
  minutes: number,
  again: readonly { pages: number; seconds: number }[] = [],
  most = 100,
): void {
  for (let minute = 0; minute < minutes; minute++) {
    for (const { pages, seconds } of again) time.usedAgain(pages, seconds);
    time.endMinute(most);
  }
}

Deno.test("nothing goes before a group was seen for five minutes", () => {
  const time = new IdleTime();
  pass(time, 4);
  assertEquals(time.seconds, undefined);
  pass(time, 1);
  assert(time.seconds! > 150, "what was idle for half of what was seen stays");
});

Deno.test("what is used again decides, down to half a minute", () => {
  const time = new IdleTime();
  pass(time, 60, [{ pages: 99, seconds: 4000 }]);
  assertEquals(time.seconds, 30, "so few may come back");
  pass(time, 2, [{ pages: 99, seconds: 4000 }, { pages: 2, seconds: 100 }]);
  assert(time.seconds! >= 100 && time.seconds! <= 160, `${time.seconds}`);
});

Deno.test("a warm set that is used every ten minutes stays", () => {
  const time = new IdleTime();
  for (let turn = 0; turn < 12; turn++) {
    pass(time, 9, [{ pages: 5000, seconds: 8 }]);
    pass(time, 1, [{ pages: 5000, seconds: 8 }, { pages: 800, seconds: 600 }]);
    if (turn > 0) assert(time.seconds! > 600, `${time.seconds} at ${turn}`);
  }
  assert(time.seconds! < 1200, `${time.seconds}`);
});

Deno.test("one minute of an hour is an exception, two decide and are forgotten slowly", () => {
  const time = new IdleTime();
  pass(time, 60);
  pass(time, 1, [{ pages: 1e6, seconds: 3000 }]);
  assertEquals(time.seconds, 30);
  pass(time, 1, [{ pages: 1e6, seconds: 3000 }]);
  const raised = time.seconds!;
  assert(raised > 3000, `${raised}`);
  pass(time, 50);
  assert(time.seconds! > raised * 0.99);
  pass(time, 20);
  assert(time.seconds! > raised / 10);
  pass(time, 60);
  assertEquals(time.seconds, 30);
});

Deno.test("refaults and pressure lengthen the idle time at once, once a minute", () => {
  const time = new IdleTime();
  pass(time, 60);
  assertEquals(time.seconds, 30);
  time.raise();
  time.raise();
  assertEquals(time.seconds, 60);
  pass(time, 1);
  assertEquals(time.seconds, 54, "and it gets shorter slowly");
  time.raise();
  assertEquals(time.seconds, 108);
  for (let minute = 0; minute < 30; minute++) {
    time.raise();
    pass(time, 1);
  }
  assertEquals(time.seconds, 86_400, "a day is the longest");
});

Deno.test("what was learnt is taken up again", () => {
  const time = new IdleTime();
  pass(time, 20, [{ pages: 800, seconds: 600 }]);
  const again = new IdleTime(time.learnt);
  assertEquals(again.seconds, time.seconds);
  pass(time, 1);
  pass(again, 1);
  assertEquals(again.learnt, time.learnt);
});
