/**
 * Tests of the dry run.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { PagedataBuilder } from "../memory/pagedata.ts";
import type {
  PageRange,
  ProcessMemory,
  ProcessSizes,
} from "../memory/process_memory.ts";
import { DryRunMemory } from "./dry_run.ts";

/**
 * A process that records the calls on it, and grows by a page whenever its size is
 * read.
 */
class NotingMemory implements ProcessMemory {
  readonly pid = 4242;
  readonly notes: string[] = [];
  #rss = 100_000;

  readPagedata() {
    this.notes.push("readPagedata");
    return Promise.resolve(new PagedataBuilder().build());
  }

  closePagedata(): void {
    this.notes.push("closePagedata");
  }

  readResidency() {
    this.notes.push("readResidency");
    return Promise.resolve(undefined);
  }

  readSizes(): ProcessSizes {
    this.notes.push("readSizes");
    this.#rss += 4096;
    return { rss: this.#rss, image: 200_000 };
  }

  control(): never {
    throw new Error("a dry run takes no control");
  }
}

function range(start: bigint, bytes: number): PageRange {
  return { start, end: start + 0x10000n, bytes, mappingStart: start };
}

Deno.test("a dry run plans everything and touches nothing", async () => {
  const process = new NotingMemory();
  const memory = new DryRunMemory(process);
  using control = await memory.control();
  const ranges = Array.from(
    { length: 2000 },
    (_, at) => range(BigInt(at) << 16n, 4),
  );
  assertEquals(control.maxRanges >= ranges.length, true);
  const results = await control.pageOut(ranges);
  assertEquals(results, ranges.map(() => ({ result: "planned" as const })));
  assertEquals(process.notes, []);
});

Deno.test("planned pages count as gone, whatever the process does", async () => {
  const memory = new DryRunMemory(new NotingMemory());
  const { rss, image } = memory.readSizes();
  using control = await memory.control();
  await control.pageOut([range(0n, 8192)]);
  assertEquals(memory.readSizes(), { rss: rss - 8192, image });
  await control.pageOut([range(0x1_0000n, 4096), range(0x2_0000n, 4096)]);
  assertEquals(memory.readSizes(), { rss: rss - 16_384, image });
});

Deno.test("everything else is read from the process", async () => {
  const process = new NotingMemory();
  const memory = new DryRunMemory(process);
  assertEquals(memory.pid, 4242);
  await memory.readPagedata();
  await memory.readResidency();
  memory.closePagedata();
  assertEquals(process.notes, [
    "readPagedata",
    "readResidency",
    "closePagedata",
  ]);
});
