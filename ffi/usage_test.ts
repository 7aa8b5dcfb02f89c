/**
 * Tests of the resource usage of this process.
 *
 * @module
 */

import { assert } from "@std/assert";
import { MappedMemory } from "./mapped_memory.ts";
import { ownUsage } from "./usage.ts";
import { processors } from "./testing.ts";

const MIB = 2 ** 20;

Deno.test("processor time grows with the work done, and not much more", () => {
  const began = performance.now();
  const { cpu: before } = ownUsage();
  let cpu = before;
  while (cpu < before + 0.05) {
    cpu = ownUsage().cpu;
    assert(performance.now() - began < 30_000, `still ${cpu - before} s`);
  }
  // More than all processors together is impossible.
  const elapsed = (performance.now() - began) / 1000;
  assert(cpu - before <= (elapsed + 0.02) * processors());
});

Deno.test("the resident set is that of this process", () => {
  // The runtime may give memory back or take some meanwhile.
  const growths = Array.from({ length: 5 }, () => {
    using memory = MappedMemory.anonymous(64 * MIB);
    const { rss: before } = ownUsage();
    memory.contents.fill(1);
    return ownUsage().rss - before;
  });
  assert(
    growths.some((grown) => grown > 60 * MIB && grown < 128 * MIB),
    `${growths} bytes`,
  );
});
