/**
 * Tests of the descriptions of scan events.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { ProcessError } from "../errors.ts";
import type { PagedataMapping } from "../memory/pagedata.ts";
import { DryRunMemory } from "../platform/dry_run.ts";
import { MemoryCalls } from "../platform/linux/memory_calls.ts";
import { LinuxProcessMemory } from "../platform/linux/process_memory.ts";
import { SmapsSource } from "../platform/linux/smaps_source.ts";
import { ScannedProcess } from "../scanner/collection.ts";
import { narrate } from "./narrate.ts";

const MIB = 2 ** 20;

const process = new ScannedProcess(
  new DryRunMemory(
    new LinuxProcessMemory({ pid: 42, startTime: 0 }, {
      source: new SmapsSource(),
      calls: new MemoryCalls(),
    }),
    { free: 0 },
  ),
);
process.unreferenced = 3 * MIB;

const mapping: PagedataMapping = {
  start: 0x7f00_0000_0000n,
  pages: 512,
  pageSize: 4096,
  flags: 0,
  firstRun: 0,
  endRun: 0,
};

Deno.test("a process that is passed over", () => {
  const error = new ProcessError(42, "process 42 has exited");
  assertEquals(narrate({ type: "error", process, error }), [
    "process 42 passed over: process 42 has exited",
  ]);
});

Deno.test("unreferenced pages that are not enough", () => {
  assertEquals(
    narrate({ type: "insufficient", unreferenced: MIB, excess: 2 * MIB }),
    ["unreferenced pages (1.0M) will not cover the excess (2.0M): pages in use go too"],
  );
});

Deno.test("a victim, chosen or resumed", () => {
  const excess = 2 * MIB;
  assertEquals(
    narrate({ type: "victim", process, resumeAddress: undefined, excess }),
    ["victim 42 chosen, from its beginning: 3.0M unreferenced, excess 2.0M"],
  );
  assertEquals(
    narrate({ type: "victim", process, resumeAddress: 0x1000n, excess }),
    ["victim 42 resumed at 0x1000: 3.0M unreferenced, excess 2.0M"],
  );
});

Deno.test("mappings that are passed over, now or from now on", () => {
  assertEquals(narrate({ type: "skip", process, mapping, reason: "locked" }), [
    "victim 42: mapping 0x7f0000000000-0x7f0000200000 (2.0M) passed over: locked",
  ]);
  assertEquals(narrate({ type: "ignore", process, mapping }), [
    "victim 42: mapping 0x7f0000000000-0x7f0000200000 (2.0M) cannot be paged out and will be ignored",
  ]);
});

Deno.test("ranges that were paged out, one per line, and the fall of RSS", () => {
  const range = (start: bigint, bytes: number) => ({
    start,
    end: start + 0x20_0000n,
    bytes,
    mappingStart: start,
  });
  assertEquals(
    narrate({
      type: "pageout",
      process,
      ranges: [
        range(0x10_0000n, MIB),
        range(0x40_0000n, 4096),
        range(0x80_0000n, 4096),
      ],
      // The last range was not begun.
      results: [{ result: "done" }, { result: "busy", message: "locked" }],
      fell: MIB,
      excess: 4096,
    }),
    [
      "victim 42: range 0x100000-0x300000, 1.0M resident: done",
      "victim 42: range 0x400000-0x600000, 4.0K resident: busy: locked",
      "victim 42: RSS fell by 1.0M, 4.0K of the excess remain",
    ],
  );
});

Deno.test("the end, and what remains", () => {
  assertEquals(narrate({ type: "end", excess: 4096, complete: true }), [
    "scan complete: 4.0K of the excess remain",
  ]);
  assertEquals(narrate({ type: "end", excess: -4096, complete: false }), [
    "scan ends and will be resumed: the excess is covered",
  ]);
});
