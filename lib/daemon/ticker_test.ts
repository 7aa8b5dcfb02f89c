import { assertEquals } from "@std/assert";
import { Ticker } from "./ticker.ts";

Deno.test("a ticker is due at once, and again after each interval", () => {
  const ticker = new Ticker(100, 1000);
  assertEquals(ticker.wait(1000), 0);
  assertEquals(ticker.take(1000), true);
  assertEquals(ticker.take(1000), false);
  assertEquals(ticker.wait(1030), 70);
  assertEquals(ticker.take(1099), false);
  assertEquals(ticker.take(1100), true);
});

Deno.test("late ticks do not shift later ones", () => {
  const ticker = new Ticker(100, 0);
  ticker.take(0);
  assertEquals(ticker.take(130), true);
  assertEquals(ticker.wait(130), 70);
});

Deno.test("missed ticks do not come in a burst", () => {
  const ticker = new Ticker(100, 0);
  ticker.take(0);
  const awake = 3_600_050;
  assertEquals(ticker.take(awake), true);
  assertEquals(ticker.take(awake), false);
  assertEquals(ticker.wait(awake), 100);
});

Deno.test("a new interval applies from the next tick on", () => {
  const ticker = new Ticker(60_000, 0);
  ticker.take(0);
  ticker.setInterval(100, 10);
  assertEquals(ticker.wait(10), 100);
  ticker.setInterval(5000, 20);
  assertEquals(ticker.wait(20), 90);
  assertEquals(ticker.take(110), true);
  assertEquals(ticker.wait(110), 5000);
  ticker.hurry(120);
  assertEquals(ticker.take(120), true);
});
