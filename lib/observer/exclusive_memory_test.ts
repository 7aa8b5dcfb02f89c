/**
 * Tests of memory whose references only the owner of the right resets.
 *
 * @module
 */

import { assertEquals, assertRejects } from "@std/assert";
import { REFERENCED } from "../memory/pagedata.ts";
import { FakeClock, FakePlatform } from "../platform/fake_testing.ts";
import type { MonitoredMemory } from "../platform/platform.ts";
import { exclusive, ExclusiveMemory } from "./exclusive_memory.ts";
import { ObservedElsewhere, type ResetRights } from "./reset_rights.ts";

/** Rights that are as a test says. */
class FakeRights implements ResetRights {
  isOwner = false;
  refusal: string | undefined;
  taken = 0;

  take({ pid }: { pid: number }): Promise<boolean> {
    this.taken++;
    return this.refusal === undefined
      ? Promise.resolve(this.isOwner)
      : Promise.reject(new ObservedElsewhere(pid, this.refusal));
  }

  owns(): boolean {
    return this.isOwner;
  }

  release(): void {}

  refusalOf(): string | undefined {
    return this.refusal;
  }
}

/** A process with one page in use, and its memory. */
function start() {
  const platform = new FakePlatform(new FakeClock());
  const process = platform.start("one");
  process.fill("memory", 1);
  const rights = new FakeRights();
  const plain = platform.open(process.entry);
  const memory = exclusive(plain, process.entry, rights);
  return { process, rights, plain, memory };
}

async function isReferenced(memory: MonitoredMemory): Promise<boolean> {
  const { bits } = await memory.read("inspect");
  return (bits[0] & REFERENCED) !== 0;
}

Deno.test("without rights to obey, memory is what it is", () => {
  const { plain, process } = start();
  assertEquals(exclusive(plain, process.entry, undefined), plain);
});

Deno.test("the owner of the right resets references", async () => {
  const { process, rights, memory } = start();
  rights.isOwner = true;
  await memory.reset();
  assertEquals([process.resets, rights.taken], [1, 1]);
  process.touch("memory");
  await memory.readPagedata();
  assertEquals(process.resets, 2);
  assertEquals(await isReferenced(memory), false);
});

Deno.test("others never do, and ask instead when they have read", async () => {
  const { process, rights, memory } = start();
  await memory.reset();
  assertEquals([process.resets, rights.taken], [0, 1]);
  const { bits } = await memory.readPagedata();
  assertEquals(bits[0] & REFERENCED, REFERENCED);
  assertEquals([process.resets, rights.taken], [0, 2]);
  assertEquals(await isReferenced(memory), true);
  await memory.read("glance");
  assertEquals(rights.taken, 2);
});

Deno.test("a right that is refused is an error, and why it cannot be read", async () => {
  const { process, rights, memory } = start();
  rights.refusal = "somebody else observes it";
  await assertRejects(
    () => memory.reset(),
    ObservedElsewhere,
    "somebody else observes it",
  );
  assertEquals(memory.unreadable, "somebody else observes it");
  assertEquals(process.resets, 0);
});

Deno.test("only the owner cools, which resets references", async () => {
  const { process, rights, plain } = start();
  const cooling: MonitoredMemory = Object.assign(plain, {
    control: () =>
      Promise.resolve({
        maxRanges: 3,
        pageOut: () => Promise.resolve([]),
        cool: () => Promise.resolve(),
        [Symbol.dispose]() {},
      }),
  });
  const memory = exclusive(cooling, process.entry, rights);
  const lent = await memory.control();
  assertEquals([lent.cool, lent.maxRanges], [undefined, 3]);
  rights.isOwner = true;
  assertEquals((await memory.control()).cool !== undefined, true);
});

Deno.test("a process counts as run while its observer has not seen what was handed over", async () => {
  const { process, rights, plain } = start();
  rights.isOwner = true;
  const memory = new ExclusiveMemory(plain, process.entry, rights);
  await memory.read("scan");
  assertEquals(memory.hasRun(), false);
  process.touch("memory");
  await memory.handOver(() => {});
  assertEquals([plain.hasRun(), memory.hasRun()], [false, true]);
  await memory.read("scan");
  assertEquals(memory.hasRun(), false);
});
