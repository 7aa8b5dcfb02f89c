/**
 * Tests of sharing a limited amount.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Budget } from "./budget.ts";

/** Lets processes ask in turn, twice, and keeps their holders alive. */
function settle(budget: Budget, wanted: readonly number[]): number[] {
  const holders = wanted.map(() => ({}));
  let given: number[] = [];
  for (let turn = 0; turn < 2; turn++) {
    given = wanted.map((wants, index) => {
      const most = budget.mostOf(`${index}`, wants);
      budget.note(`${index}`, wants, holders[index]);
      return Math.min(wants, most);
    });
  }
  return given;
}

Deno.test("if the total suffices, all demands are met", () => {
  const wanted = [1, 20, 300, 0, 79];
  assertEquals(settle(new Budget(400), wanted), wanted);
});

Deno.test("large demands do not reduce small ones", () => {
  const given = settle(new Budget(1000), [10, 1e9, 20, 1e6, 30]);
  assertEquals(given, [10, 470, 20, 470, 30]);
});

Deno.test("the sum never exceeds the total, and nobody gets less than a fair share", () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(1_000_000), { minLength: 1, maxLength: 50 }),
      fc.integer({ min: 1000, max: 1_000_000 }),
      (wanted, total) => {
        const given = settle(new Budget(total), wanted);
        const sum = given.reduce((all, one) => all + one, 0);
        // The limit is computed again only after a large change.
        const tolerance = total * 0.02 * wanted.length;
        assert(sum <= total + tolerance, `${sum} of ${total}`);
        const least = Math.floor(total / wanted.length);
        for (const [index, one] of given.entries()) {
          assert(one >= Math.min(wanted[index], least * 0.97 - 1));
        }
      },
    ),
  );
});

Deno.test("the share of an unreachable holder returns", async () => {
  const budget = new Budget(100);
  (() => budget.note("gone", 90, { bits: new Uint8Array(1 << 20) }))();
  const holder = {};
  budget.note("stays", 5, holder);
  assertEquals(budget.wanted, 95);
  // Garbage is not collected at once, so allocate memory until it is. A WeakRef
  // that was dereferenced keeps its target until the job ends.
  const nextJob = () => new Promise((resolve) => setTimeout(resolve));
  for (let turn = 0; turn < 500 && budget.wanted > 5; turn++) {
    await nextJob();
    for (let i = 0; i < 256; i++) new Uint8Array(1 << 16).fill(1);
    await nextJob();
  }
  assertEquals(budget.wanted, 5);
  assertEquals(budget.mostOf("other", 1000), 95);
  assert(holder);
});
