import { assert, assertEquals, assertRejects } from "@std/assert";
import { BoundedCalls, NoAnswer } from "./bounded_calls.ts";

/** A call that returns when it is released. */
function held<T>(value: T) {
  const { promise, resolve } = Promise.withResolvers<T>();
  let made = 0;
  return {
    call: () => {
      made++;
      return promise;
    },
    release: () => resolve(value),
    get made() {
      return made;
    },
  };
}

Deno.test("a call that returns passes on its answer or its error", async () => {
  const calls = new BoundedCalls({ places: 1, milliseconds: 60_000 });
  assertEquals(await calls.make("a", () => Promise.resolve(1)), 1);
  const error = new TypeError("so");
  await assertRejects(
    () => calls.make("a", () => Promise.reject(error)),
    TypeError,
    "so",
  );
  assertEquals(await calls.make("a", () => Promise.resolve(2)), 2);
});

Deno.test("no more calls are in progress than there are places", async () => {
  const calls = new BoundedCalls({ places: 2, milliseconds: 60_000 });
  const held3 = [held(1), held(2), held(3)];
  const answers = held3.map(({ call }, index) => calls.make(`${index}`, call));
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(held3.map(({ made }) => made), [1, 1, 0]);
  held3[0].release();
  assertEquals(await answers[0], 1);
  held3[1].release();
  held3[2].release();
  assertEquals(await Promise.all(answers), [1, 2, 3]);
});

Deno.test("the same call is made once at a time", async () => {
  const calls = new BoundedCalls({ places: 2, milliseconds: 60_000 });
  const one = held(1);
  const answers = [calls.make("a", one.call), calls.make("a", one.call)];
  one.release();
  assertEquals(await Promise.all(answers), [1, 1]);
  assertEquals(one.made, 1);
});

Deno.test("a stuck call keeps its place, and only its own caller waits for it", async () => {
  const calls = new BoundedCalls({ places: 2, milliseconds: 50 });
  const stuck = held(1);
  await assertRejects(
    () => calls.make("stuck", stuck.call),
    NoAnswer,
    "no answer within 0.05 s",
  );
  await assertRejects(
    () => calls.make("stuck", stuck.call),
    NoAnswer,
    "it has not yet answered an earlier call",
  );
  assertEquals(stuck.made, 1);
  // The other place is free.
  assertEquals(await calls.make("b", () => Promise.resolve(2)), 2);

  const other = held(1);
  await assertRejects(() => calls.make("other", other.call), NoAnswer);
  const began = performance.now();
  await assertRejects(
    () => calls.make("c", () => Promise.resolve(3)),
    NoAnswer,
    "it was not asked, since 2 other calls have not been answered",
  );
  assert(
    performance.now() - began < 50,
    "if all calls are stuck, a caller does not wait",
  );

  stuck.release();
  other.release();
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(await calls.make("stuck", () => Promise.resolve(4)), 4);
});

Deno.test("the wait for a place is as limited as that for an answer", async () => {
  const calls = new BoundedCalls({ places: 1, milliseconds: 50 });
  const stuck = held(1);
  const [first, second] = await Promise.allSettled([
    calls.make("a", stuck.call),
    calls.make("b", () => Promise.resolve(2)),
  ]);
  assertEquals([first.status, second.status], ["rejected", "rejected"]);
  stuck.release();
});
