/**
 * Tests of what guard rails allow, and what they say.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { GuardRails, type GuardSettings, type Purpose } from "./guard_rails.ts";

const PAGE = 4096;
const MIB = 2 ** 20;
const SECOND = 1000;
const MINUTE = 60_000;

/** Guard rails, and a group of 1 GiB that they are of. */
class Guarded {
  readonly guard: GuardRails;
  now = 1e9;
  size = 1024 * MIB;
  readonly workingSet: number;
  swapDisk: string | null | undefined;

  constructor(settings: GuardSettings, workingSet = 400 * MIB) {
    this.workingSet = workingSet;
    this.guard = new GuardRails(settings, PAGE);
    this.sample(0);
  }

  /** Takes a sample in which so many pages came back. */
  sample(pages: number): void {
    const cameBack = pages * PAGE;
    const { size, workingSet } = this;
    this.guard.sampled({ cameBack, size, workingSet }, this.now);
  }

  /** Lets time pass, with a sample every five seconds in which so many pages come back. */
  pass(milliseconds: number, pages = 0): void {
    for (let passed = 0; passed < milliseconds; passed += 5 * SECOND) {
      this.now += 5 * SECOND;
      this.sample(pages);
    }
  }

  /** How much of an amount may go, in MiB. */
  allow(mebibytes: number, purpose: Purpose = "idle"): number {
    const { size, now, swapDisk } = this;
    const most = this.guard.allow(
      { purpose, bytes: mebibytes * MIB, size },
      { now, interval: 5 * SECOND },
      swapDisk,
    );
    return Math.min(mebibytes, most / MIB);
  }

  take(mebibytes: number, toSwap = mebibytes): void {
    this.size -= mebibytes * MIB;
    this.guard.tookOut(
      { bytes: mebibytes * MIB, toSwap: toSwap * MIB, size: this.size },
      this.now,
    );
  }

  get why(): string[] {
    return this.guard.heldBack(this.now).map(({ why }) => why);
  }
}

Deno.test("without guard rails all may go, and nothing is held back", () => {
  const guarded = new Guarded({});
  guarded.take(100);
  guarded.sample(20_000);
  assertEquals(guarded.allow(300, "cap"), 300);
  assertEquals(guarded.why, []);
});

Deno.test("refaults above a share of the working set leave the group alone, and say so", () => {
  // 0.2 % of 102,400 pages are 204.8 a minute.
  const guarded = new Guarded({ idle: 10 * MINUTE });
  guarded.take(100);
  guarded.sample(204);
  assertEquals(guarded.allow(50), 50);
  guarded.sample(1);
  assertEquals(guarded.allow(50), 0);
  assertEquals(guarded.why, [
    "held back by refaults: 0.2002 % a minute, at most 0.2 %",
  ]);
  guarded.sample(2970);
  guarded.allow(50);
  assertEquals(guarded.why, [
    "held back by refaults: 3.1 % a minute, at most 0.2 %",
  ]);
});

Deno.test("refaults are limited by their number a second, if that is configured", () => {
  const guarded = new Guarded({ maxRefaults: { perSecond: 50 } });
  guarded.take(100);
  guarded.sample(3000);
  assertEquals(guarded.allow(50, "cap"), 50);
  guarded.sample(120);
  assertEquals(guarded.allow(50, "cap"), 0);
  assertEquals(guarded.why, ["held back by refaults: 52 a second, at most 50"]);
});

Deno.test("a share of a small working set is at least one page a second", () => {
  const guarded = new Guarded({ idle: MINUTE }, MIB);
  guarded.take(100);
  guarded.sample(60);
  assertEquals(guarded.allow(50), 50);
  guarded.sample(6);
  assertEquals(guarded.allow(50), 0);
  assertEquals(guarded.why, ["held back by refaults: 1.1 a second, at most 1"]);
});

Deno.test("faults of memory that was never paged out are no refaults", () => {
  const guarded = new Guarded({ idle: MINUTE });
  guarded.sample(1e6);
  assertEquals(guarded.allow(50), 50);
  assertEquals(guarded.guard.refaults.total, 0);
  guarded.take(1);
  guarded.sample(1e6);
  assertEquals(guarded.guard.refaults.total, 256, "no more than went");
});

Deno.test("a group is left alone for longer each time its refaults are above the limit", () => {
  const guarded = new Guarded({ idle: MINUTE });
  const lengths: number[] = [];
  for (let time = 0; time < 9; time++) {
    assertEquals(guarded.allow(50), 50);
    guarded.take(50);
    guarded.pass(5 * SECOND, 10_000);
    const began = guarded.now;
    while (guarded.allow(50) === 0) guarded.pass(5 * SECOND);
    lengths.push(Math.round((guarded.now - began) / MINUTE));
  }
  // The refaults themselves count for a minute.
  assertEquals(lengths, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
  // It is calm for as long as it was left alone: then the first time is short again.
  guarded.take(50);
  guarded.pass(60 * MINUTE);
  guarded.take(50);
  guarded.pass(5 * SECOND, 10_000);
  const began = guarded.now;
  while (guarded.allow(50) === 0) guarded.pass(5 * SECOND);
  assertEquals(Math.round((guarded.now - began) / MINUTE), 1);
});

Deno.test("while refaults go on, nothing goes, but that is one time only", () => {
  const guarded = new Guarded({ idle: MINUTE });
  guarded.take(400);
  guarded.pass(5 * SECOND, 1000);
  guarded.pass(5 * MINUTE, 300);
  assertEquals(guarded.allow(50), 0);
  guarded.pass(MINUTE + 5 * SECOND);
  assertEquals(guarded.allow(50), 50);
  guarded.take(50);
  guarded.pass(5 * SECOND, 10_000);
  guarded.pass(2 * MINUTE - 5 * SECOND);
  assertEquals(guarded.allow(50), 0);
  guarded.pass(10 * SECOND);
  assertEquals(guarded.allow(50), 50, "the second time is two minutes");
});

Deno.test("no guard rail applies to the cap unless it is configured", () => {
  const guarded = new Guarded({ idle: MINUTE });
  guarded.swapDisk = "/dev/sda2";
  guarded.take(100);
  guarded.sample(25_000);
  assertEquals(guarded.allow(300, "idle"), 0);
  assertEquals(guarded.allow(300, "cap"), 300);
});

Deno.test("what is written holds for the cap, too", () => {
  const guarded = new Guarded({ maxRefaults: { sharePerMinute: 0.002 } });
  guarded.take(100);
  guarded.sample(25_000);
  assertEquals(guarded.allow(300, "cap"), 0);
});

Deno.test("above the pressure nothing goes, and it is said whose pressure it is", () => {
  const guarded = new Guarded({ maxPressure: 0.01 });
  guarded.guard.notePressure({ share: 0.01, cgroup: "/a" });
  assertEquals(guarded.allow(50, "cap"), 50);
  guarded.guard.notePressure({ share: 0.0123, cgroup: "/system.slice/web" });
  assertEquals(guarded.allow(50, "cap"), 0);
  assertEquals(guarded.why, [
    "held back by memory pressure of cgroup /system.slice/web: 1.2 %, at most 1 %",
  ]);
  const most = { name: "builds", perSecond: 1200 };
  guarded.guard.notePressure({ share: 0.32, most });
  assertEquals(guarded.allow(50), 0);
  assertEquals(guarded.guard.heldBack(guarded.now), [{
    by: "pressure",
    why:
      "held back by memory pressure of the machine: 32 %, at most 1 %; group builds has the most refaults, 1200 a second",
  }]);
  guarded.guard.notePressure({ share: undefined });
  assertEquals(guarded.allow(50), 50, "what is not known holds nothing back");
});

Deno.test("the group never gets smaller than min_rss", () => {
  const guarded = new Guarded({ minRss: 1000 * MIB });
  assertEquals(guarded.allow(20), 20);
  assertEquals(guarded.why, []);
  assertEquals(guarded.allow(50), 24);
  assertEquals(guarded.why, ["held back by min_rss: 1.0G, at least 1000.0M"]);
  guarded.take(23);
  assertEquals(guarded.allow(50), 0, "a large page would be too much");
  assertEquals(guarded.allow(0.5), 0.5);
  guarded.size = 900 * MIB;
  assertEquals(guarded.allow(50, "cap"), 0);
});

Deno.test("page-outs keep a rate, and nothing is saved up for longer than an interval", () => {
  const guarded = new Guarded({
    maxPageoutRate: { bytes: 4 * MIB, per: SECOND },
  });
  guarded.pass(MINUTE);
  let taken = 0;
  for (let second = 0; second < 100; second += 5) {
    const some = guarded.allow(500);
    assertEquals(some, 20);
    assertEquals(guarded.why, ["held back by max_pageout_rate: 4M/s"]);
    guarded.take(some);
    taken += some;
    assertEquals(guarded.allow(500), 0);
    guarded.pass(5 * SECOND);
  }
  assertEquals(taken, 400);
  guarded.allow(10);
  assertEquals(guarded.why, [], "less than the rate is not held back");
});

Deno.test("a very low rate saves up for a large page", () => {
  const guarded = new Guarded({
    maxPageoutRate: { bytes: 64 * 1024, per: SECOND },
  });
  let taken = 0;
  for (let second = 0; second < 1000; second += 5) {
    const some = guarded.allow(500);
    assert(some === 0 || some >= 2);
    guarded.take(some);
    taken += some;
    guarded.pass(5 * SECOND);
  }
  assert(taken >= 55 && taken <= 64, `${taken} MiB`);
});

Deno.test("idle memory goes slowly to swap on a disk, which is said, unless a rate is set", () => {
  const guarded = new Guarded({ idle: MINUTE });
  guarded.swapDisk = "/dev/sda2";
  assertEquals(guarded.allow(500), 80);
  assertEquals(guarded.why, [
    "held back by max_pageout_rate: 16M/s, the default for swap on a disk (/dev/sda2)",
  ]);
  guarded.swapDisk = null;
  assertEquals(guarded.allow(500), 80);
  assertEquals(guarded.why, [
    "held back by max_pageout_rate: 16M/s, the default where it is not known whether swap is on a disk",
  ]);
  guarded.guard.configure({
    idle: MINUTE,
    maxPageoutRate: { bytes: 100 * MIB, per: SECOND },
  });
  assertEquals(guarded.allow(500), 500);
  guarded.guard.configure({ idle: MINUTE, only: "file" });
  assertEquals(guarded.allow(500), 500, "files do not go to swap");
});

Deno.test("once the day's swap writes are used up, only files go until they are a day old", () => {
  const DAY = 24 * 60 * MINUTE;
  const guarded = new Guarded({
    maxSwapWrites: { bytes: 100 * MIB, per: DAY },
  });
  assertEquals(guarded.allow(60), 60);
  guarded.take(60, 50);
  assertEquals(guarded.allow(80), 50, "files did not count");
  assert(guarded.guard.maySwap(guarded.now));
  guarded.take(50);
  assert(!guarded.guard.maySwap(guarded.now));
  assertEquals(guarded.allow(80), 80, "files may go");
  assertEquals(guarded.why, [
    "held back by max_swap_writes: 100.0M in the last day, at most 100.0M",
  ]);
  guarded.now += DAY - MINUTE;
  assert(!guarded.guard.maySwap(guarded.now));
  guarded.now += 30 * MINUTE;
  assert(guarded.guard.maySwap(guarded.now));
});

Deno.test("what was counted stays when other settings change", () => {
  const DAY = 24 * 60 * MINUTE;
  const maxSwapWrites = { bytes: 100 * MIB, per: DAY };
  const guarded = new Guarded({ maxSwapWrites });
  guarded.take(100);
  guarded.guard.configure({ maxSwapWrites: { ...maxSwapWrites }, minRss: MIB });
  assert(!guarded.guard.maySwap(guarded.now));
});

Deno.test("what held back is forgotten when nothing is to go any more", () => {
  const guarded = new Guarded({ minRss: 1024 * MIB });
  guarded.allow(50, "idle");
  guarded.allow(50, "cap");
  assertEquals(
    guarded.guard.heldBack(guarded.now).length,
    1,
    "each guard rail once",
  );
  guarded.guard.wantsNothing("idle");
  assertEquals(guarded.guard.heldBack(guarded.now).length, 1);
  guarded.guard.wantsNothing("cap");
  assertEquals(guarded.guard.heldBack(guarded.now), []);
});
