/**
 * Tests of turns.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { systemClock } from "../platform/clock.ts";
import { Turns } from "./turns.ts";

/** Whether a promise has been resolved. */
async function isResolved(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol();
  const now = new Promise((resolve) => setTimeout(resolve, 0, pending));
  return await Promise.race([promise, now]) !== pending;
}

Deno.test("turns are granted in order, and only as many as there are places", async () => {
  const turns = new Turns(2, 60_000, systemClock);
  const first = await turns.take();
  const second = await turns.take();
  const third = turns.take();
  const fourth = turns.take();
  assertEquals(await isResolved(third), false);
  first[Symbol.dispose]();
  assertEquals(await isResolved(third), true);
  assertEquals(await isResolved(fourth), false);
  second[Symbol.dispose]();
  assertEquals(await isResolved(fourth), true);
  (await third)[Symbol.dispose]();
  (await fourth)[Symbol.dispose]();
});

Deno.test("after long enough a turn is granted even if none has ended", async () => {
  const turns = new Turns(1, 5, systemClock);
  const stuck = await turns.take();
  const second = await turns.take();
  const third = await turns.take();
  // A place is free again only when all but one have ended.
  second[Symbol.dispose]();
  third[Symbol.dispose]();
  const patient = new Turns(1, 60_000, systemClock);
  using _held = await patient.take();
  stuck[Symbol.dispose]();
  const next = await turns.take();
  next[Symbol.dispose]();
});

Deno.test("a turn granted early is not handed over", async () => {
  const turns = new Turns(1, 20, systemClock);
  const stuck = await turns.take();
  const early = await turns.take();
  const waiting = turns.take();
  early[Symbol.dispose]();
  assertEquals(await isResolved(waiting), false);
  stuck[Symbol.dispose]();
  assertEquals(await isResolved(waiting), true);
  (await waiting)[Symbol.dispose]();
});
