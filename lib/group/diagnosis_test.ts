/**
 * Tests of what is said about a cap that cannot be met.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import {
  FakeClock,
  FakePlatform,
  type FakeProcess,
  PAGE,
} from "../platform/fake_testing.ts";
import { type DiagnosedGroup, type Seen, whyNotMet } from "./diagnosis.ts";
import { Member } from "./member.ts";

const MIB = 2 ** 20 / PAGE;

/** Nothing was seen. */
const NOTHING: Seen = { inUse: null, granularity: "page" };

/**
 * What is said of a group of processes.
 *
 * @param sizes in MiB; by default the size is the sum of what is resident.
 */
async function why(
  fill: (...processes: FakeProcess[]) => void,
  { cap = 4, size, processes = 1, accounting = "rss", seen = NOTHING }: {
    cap?: number;
    size?: number;
    processes?: number;
    accounting?: DiagnosedGroup["accounting"];
    seen?: Seen;
  } = {},
): Promise<string> {
  const platform = new FakePlatform(new FakeClock());
  const all = Array.from(
    { length: processes },
    (_, index) => platform.start(`p${index}`),
  );
  // Members are opened while everything can be read.
  const memories = all.map(({ entry }) => platform.open(entry));
  fill(...all);
  const members = all.map(({ entry }, index) =>
    new Member(entry, memories[index], () => {})
  );
  const rss = all.reduce((sum, process) => sum + process.rss, 0);
  const sentence = await whyNotMet({
    name: "one",
    cap: cap * 2 ** 20,
    size: size === undefined ? rss : size * 2 ** 20,
    accounting,
    members,
  }, seen);
  const [, cause] = /cannot be brought under the cap of [^:]+: (.*)$/.exec(
    sentence,
  ) ?? [];
  return cause;
}

/** How much was seen in use, in MiB. */
function inUse(mebibytes: number): { seen: Seen } {
  return { seen: { ...NOTHING, inUse: mebibytes * 2 ** 20 } };
}

Deno.test("without a reason, and without having seen use, the cause is not known", async () => {
  const idle = (one: FakeProcess) => one.fill("idle", 16 * MIB);
  const unknown = "the cause is not known";
  assertEquals(await why(idle), unknown);
  assertEquals(await why(idle, inUse(0)), unknown);
  // A little is always in use.
  assertEquals(await why(idle, inUse(1)), unknown);
});

Deno.test("a working set is larger than the cap only if so much was seen in use", async () => {
  const fill = (one: FakeProcess) => one.fill("some", 16 * MIB);
  const words = "its working set is larger than the cap";
  assertEquals(await why(fill, inUse(5)), words);
  assertEquals(await why(fill, inUse(4)), "4.0M in use");
  assertEquals(
    await why(fill, inUse(3)),
    "3.0M in use; why the rest stays is not known",
  );
  // References of mappings do not show how much of them is in use.
  const seen: Seen = { inUse: 16 * 2 ** 20, granularity: "mapping" };
  assertEquals(
    await why(fill, { seen }),
    "16.0M in mappings of which some memory is in use",
  );
});

Deno.test("what cannot go is said beside what is in use, the largest first", async () => {
  const fill = (one: FakeProcess) => {
    one.fill("locked", 6 * MIB, { isLocked: true });
    one.fill("used", 10 * MIB);
  };
  assertEquals(
    await why(fill, { cap: 12, ...inUse(10) }),
    "10.0M in use; 6.0M locked in memory",
  );
  assertEquals(
    await why(fill, inUse(10)),
    "its working set is larger than the cap; 6.0M locked in memory",
  );
});

Deno.test("idle pinned memory is no working set", async () => {
  const words = "64.0M pinned by a device or the kernel";
  assertEquals(
    await why(
      (one) => one.fill("ring", 64 * MIB, { isPinned: true }),
      inUse(1),
    ),
    words,
  );
  // It may be pinned several times, or in part not resident any more.
  assertEquals(
    await why((one) => {
      one.fill("ring", 64 * MIB, { isPinned: true });
      one.map("again", 64 * MIB, { isPinned: true });
    }),
    words,
  );
  assertEquals(
    await why((one) => {
      one.fill("locked", 32 * MIB, { isLocked: true });
      one.map("ring", 64 * MIB, { isPinned: true });
      one.touch("ring", 0, 30 * MIB);
    }),
    "32.0M locked in memory; 30.0M pinned by a device or the kernel",
  );
});

Deno.test("a cgroup that may not swap is named, each one by itself", async () => {
  const limit = (name: string) =>
    `cgroup /${name} may not swap (memory.swap.max is 0)`;
  assertEquals(
    await why((a, b, c) => {
      a.fill("heap", 30 * MIB);
      b.fill("heap", 20 * MIB);
      c.fill("heap", 28 * MIB);
      a.swapLimit = c.swapLimit = limit("x");
      b.swapLimit = limit("y");
    }, { processes: 3 }),
    `58.0M anonymous: ${limit("x")}; 20.0M anonymous: ${limit("y")}`,
  );
});

Deno.test("shared memory counts as the size of the group counts it", async () => {
  const fill = (...processes: FakeProcess[]) => {
    for (const process of processes) {
      process.fill("shared", 100 * MIB, { sharers: 10 });
    }
  };
  const words = "mapped more than once, which the kernel does not page out";
  const processes = 4;
  assertEquals(
    await why(fill, { processes, size: 40, accounting: "pss" }),
    `40.0M ${words}`,
  );
  // Never more than the group has.
  assertEquals(await why(fill, { processes, size: 64 }), `64.0M ${words}`);
});

Deno.test("members that cannot be read, or do not answer, are part of the explanation", async () => {
  assertEquals(
    await why((a, b) => {
      a.fill("some", 20 * MIB);
      a.failure = "process 1 is odd";
      b.fill("locked", 10 * MIB, { isLocked: true });
    }, { processes: 2 }),
    "20.0M in a process that cannot be read (process 1 is odd); 10.0M locked in memory",
  );
  assertEquals(
    await why((a, b) => {
      a.fill("some", 20 * MIB);
      b.fill("some", 20 * MIB);
      a.silence = "process 1 does not answer";
      b.silence = "process 2 does not answer";
    }, { processes: 2 }),
    "40.0M in 2 processes that cannot be read (for example: process 1 does not answer)",
  );
});

Deno.test("what explains little is not mentioned, and what has exited explains nothing", async () => {
  assertEquals(
    await why((a, b) => {
      a.fill("idle", 30 * MIB);
      a.fill("locked", 2 * MIB, { isLocked: true });
      b.fill("locked", 30 * MIB, { isLocked: true });
      b.exit();
    }, { processes: 2 }),
    "the cause is not known",
  );
});
