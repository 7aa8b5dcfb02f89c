import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { RollingWindow } from "./rolling_window.ts";

Deno.test("what is older than the window, by a part at most, does not count", () => {
  const sum = new RollingWindow(60_000);
  sum.add(5, 10_000);
  sum.add(7, 40_000);
  assertEquals(sum.total(40_000), 12);
  assertEquals(sum.total(70_000), 12);
  assertEquals(sum.total(72_000), 7);
  assertEquals(sum.total(102_000), 0);
  sum.add(3, 1e9);
  assertEquals(sum.total(1e9), 3);
});

Deno.test("a window can have the largest amount, too", () => {
  const most = new RollingWindow(60_000, Math.max);
  most.add(5, 10_000);
  most.add(9, 20_000);
  most.add(7, 50_000);
  assertEquals(most.total(60_000), 9);
  assertEquals(most.total(100_000), 7);
  assertEquals(most.total(200_000), 0);
});

Deno.test("the sum is never less than that of the window, nor more than that of a part more", () => {
  fc.assert(fc.property(
    fc.array(
      fc.record({
        wait: fc.integer({ min: 0, max: 90_000 }),
        amount: fc.nat(99),
      }),
      { maxLength: 50 },
    ),
    (steps) => {
      const sum = new RollingWindow(60_000);
      let now = 0;
      const done: { at: number; amount: number }[] = [];
      const since = (time: number) =>
        done.filter(({ at }) => at > now - time)
          .reduce((sum, { amount }) => sum + amount, 0);
      for (const { wait, amount } of steps) {
        now += wait;
        sum.add(amount, now);
        done.push({ at: now, amount });
        assert(sum.total(now) >= since(60_000));
        assert(sum.total(now) <= since(61_001));
      }
    },
  ));
});
