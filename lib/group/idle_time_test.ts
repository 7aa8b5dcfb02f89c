/**
 * Tests of how an idle time finds itself.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { IdleTime } from "./idle_time.ts";

const MINUTE = 60_000;

/** An idle time in simulated minutes. */
class Simulated {
  readonly time: IdleTime;
  #now = 0;

  constructor(learnt?: IdleTime["learnt"]) {
    this.time = new IdleTime(learnt);
    this.sample();
  }

  get seconds(): number | undefined {
    return this.time.seconds;
  }

  sample(
    more: {
      refaults?: number;
      isUnderPressure?: boolean;
      isObserved?: boolean;
    } = {},
  ): boolean {
    const { refaults = 0, isUnderPressure = false, isObserved = true } = more;
    return this.time.sampled(
      { most: 100, refaults, isUnderPressure, isObserved },
      this.#now,
    );
  }

  /** Lets minutes pass in each of which some pages are used again after a time. */
  pass(
    minutes: number,
    again: readonly { pages: number; seconds: number }[] = [],
    more: { isObserved?: boolean } = {},
  ): void {
    for (let minute = 0; minute < minutes; minute++) {
      for (const { pages, seconds } of again) {
        this.time.usedAgain(pages, seconds);
      }
      this.#now += MINUTE;
      this.sample(more);
    }
  }
}

Deno.test("nothing goes before a group was seen for five minutes", () => {
  const one = new Simulated();
  one.pass(4);
  assertEquals(one.seconds, undefined);
  assertEquals(one.time.state, {
    seconds: null,
    minutes: 4,
    leastMinutes: 5,
    raisedBy: null,
  });
  one.pass(1);
  assert(one.seconds! > 150, "what was idle for half of what was seen stays");
});

Deno.test("minutes in which it is not known what is used do not count", () => {
  const one = new Simulated();
  one.pass(20, [], { isObserved: false });
  assertEquals(one.seconds, undefined);
  assertEquals(one.time.state.minutes, 0);
  one.pass(6);
  assertEquals(one.time.state.minutes, 5);
});

Deno.test("what is used again decides, down to half a minute", () => {
  const one = new Simulated();
  one.pass(60, [{ pages: 99, seconds: 4000 }]);
  assertEquals(one.seconds, 30, "so few may come back");
  one.pass(2, [{ pages: 99, seconds: 4000 }, { pages: 2, seconds: 100 }]);
  assert(one.seconds! >= 100 && one.seconds! <= 160, `${one.seconds}`);
});

Deno.test("a warm set that is used every ten minutes stays", () => {
  const one = new Simulated();
  for (let turn = 0; turn < 12; turn++) {
    one.pass(9, [{ pages: 5000, seconds: 8 }]);
    one.pass(1, [{ pages: 5000, seconds: 8 }, { pages: 800, seconds: 600 }]);
    if (turn > 0) assert(one.seconds! > 600, `${one.seconds} at ${turn}`);
  }
  assert(one.seconds! < 1200, `${one.seconds}`);
});

Deno.test("one minute of an hour is an exception, two decide and are forgotten slowly", () => {
  const one = new Simulated();
  one.pass(60);
  one.pass(1, [{ pages: 1e6, seconds: 3000 }]);
  assertEquals(one.seconds, 30);
  one.pass(1, [{ pages: 1e6, seconds: 3000 }]);
  const raised = one.seconds!;
  assert(raised > 3000, `${raised}`);
  one.pass(50);
  assert(one.seconds! > raised * 0.99);
  one.pass(20);
  assert(one.seconds! > raised / 10);
  one.pass(60);
  assertEquals(one.seconds, 30);
});

for (
  const [reason, more] of [
    ["refaults", { refaults: 101 }],
    ["pressure", { isUnderPressure: true }],
  ] as const
) {
  Deno.test(`${reason} lengthen the idle time at once, once for what has gone`, () => {
    const one = new Simulated();
    one.pass(60);
    one.sample(more);
    assertEquals(one.seconds, 30, "nothing has gone that could come back");
    one.time.tookOut();
    one.sample({ refaults: 100 });
    assertEquals(one.seconds, 30, "so much may come back");
    one.sample(more);
    one.sample(more);
    assertEquals(one.seconds, 60);
    assertEquals(one.time.state.raisedBy, reason);
    one.pass(1);
    assertEquals(one.seconds, 54, "and it gets shorter slowly");
    assertEquals(one.time.state.raisedBy, reason, "it is not forgotten yet");
    for (let minute = 0; minute < 30; minute++) {
      one.time.tookOut();
      one.sample(more);
      one.pass(1);
    }
    assertEquals(one.seconds, 86_400, "a day is the longest");
    one.pass(60);
    assertEquals(one.time.state.raisedBy, null);
  });
}

Deno.test("what comes back shows how long it was not needed, unless it was made anew", () => {
  const one = new Simulated();
  one.pass(60);
  for (let minute = 0; minute < 2; minute++) {
    one.time.usedAgain(1000, 600, true);
    one.pass(1);
  }
  assertEquals(one.seconds, 30, "no fault has waited for it");
  const other = new Simulated();
  other.pass(60);
  for (let minute = 0; minute < 2; minute++) {
    other.time.usedAgain(1000, 600, true);
    other.sample();
    other.time.sampled({
      most: 100,
      refaults: 1000,
      isObserved: true,
      isUnderPressure: false,
    }, (61 + minute) * MINUTE);
  }
  assert(other.seconds! > 600 && other.seconds! < 1000, `${other.seconds}`);
});

Deno.test("what was learnt is taken up again, or forgotten", () => {
  const one = new Simulated();
  one.pass(20, [{ pages: 800, seconds: 600 }]);
  const again = new Simulated(one.time.learnt);
  assertEquals(again.seconds, one.seconds);
  one.pass(1);
  again.pass(1);
  assertEquals(again.time.learnt, one.time.learnt);
  again.time.forget();
  assertEquals(again.seconds, undefined);
  assertEquals(again.time.learnt, undefined);
});
