/**
 * Tests of which memory a page-out can take.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import type { SkipReason } from "../../memory/process_memory.ts";
import { mayBePageable, pageable } from "./candidates.ts";
import type { LinuxMapping } from "./linux_mapping.ts";

const MIB = 2 ** 20;

/** A mapping: private anonymous memory with 4 resident MiB by default. */
function mapping(
  { flags = [], ...rest }: Partial<Omit<LinuxMapping, "flags">> & {
    flags?: string[];
  },
): LinuxMapping {
  return {
    start: 0x7f00_0000_0000n,
    end: 0x7f00_0080_0000n,
    perm: "rw-p",
    device: "00:00",
    name: "",
    pageSize: 4096,
    rss: 4 * MIB,
    own: rest.rss ?? 4 * MIB,
    proportional: rest.rss ?? 4 * MIB,
    dirty: 0,
    referenced: 0,
    anonymous: rest.name?.startsWith("/") ? 0 : 4 * MIB,
    swap: 0,
    locked: 0,
    flags: new Set(["rd", "wr", "mr", "mw", ...flags]),
    ...rest,
  };
}

const FILE = { name: "/usr/bin/server", device: "fe:01" };
const TMPFS = "00:1a";

const withSwap = { swapFree: true, memoryDevices: new Set([TMPFS]) };
const withoutSwap = { ...withSwap, swapFree: false };

/** The size, or the reason, with swap and without it. */
function verdicts(
  which: Parameters<typeof mapping>[0],
): (number | SkipReason | undefined)[] {
  return [withSwap, withoutSwap].map((context) => {
    const { bytes, reason } = pageable(mapping(which), context);
    return bytes > 0 ? bytes / MIB : reason;
  });
}

Deno.test("anonymous memory needs swap, files do not", () => {
  assertEquals(verdicts({}), [4, "no-swap"]);
  assertEquals(verdicts({ name: "[heap]" }), [4, "no-swap"]);
  assertEquals(verdicts({ name: "[anon:arena]" }), [4, "no-swap"]);
  assertEquals(verdicts(FILE), [4, 4]);
  assertEquals(verdicts({ ...FILE, perm: "rw-s", dirty: 4 * MIB }), [4, 4]);
});

Deno.test("written pages of a private file mapping need swap", () => {
  assertEquals(verdicts({ ...FILE, anonymous: 3 * MIB }), [4, 1]);
  assertEquals(verdicts({ ...FILE, anonymous: 4 * MIB }), [4, "no-swap"]);
});

Deno.test("files that live in memory need swap", () => {
  for (
    const name of [
      "/memfd:buffer (deleted)",
      "/SYSV00000000 (deleted)",
      "/dev/zero (deleted)",
    ]
  ) {
    assertEquals(verdicts({ name, perm: "rw-s" }), [4, "no-swap"], name);
  }
  const shm = { name: "[anon_shmem:buffer]", perm: "rw-s", anonymous: 0 };
  assertEquals(verdicts(shm), [4, "no-swap"]);
  const tmpfs = { name: "/dev/shm/buffer", device: TMPFS };
  assertEquals(verdicts(tmpfs), [4, "no-swap"]);
});

Deno.test("each reason why memory stays", () => {
  const reasons: [SkipReason, Parameters<typeof mapping>[0]][] = [
    ["hugetlb", { flags: ["ht", "de"], pageSize: 2 * MIB }],
    ["locked", { flags: ["lo"] }],
    // A private mapping with the flag is locked, even if its figure is 0.
    ["locked", { ...FILE, flags: ["lo"], locked: 0 }],
    ["special", { flags: ["io", "pf"] }],
    ["special", { flags: ["pf"] }],
    ["special", { name: "[vdso]", rss: 4096 }],
    ["special", { name: "[vvar]", rss: 0 }],
    ["special", { name: "[vsyscall]", rss: 0 }],
    ["nonresident", { rss: 0, anonymous: 0, swap: 4 * MIB }],
    ["shared", { own: 0 }],
    ["shared", { ...FILE, own: 0 }],
  ];
  for (const [reason, which] of reasons) {
    assertEquals(verdicts(which), [reason, reason], reason);
  }
});

Deno.test("memory that needs swap names the cgroup's limit as the reason", () => {
  const limited = { ...withoutSwap, whyNoSwap: "swap-limit" as const };
  const verdict = (which: Parameters<typeof mapping>[0]) =>
    pageable(mapping(which), limited);
  assertEquals(verdict({}).reason, "swap-limit");
  assertEquals(verdict({ ...FILE, anonymous: 4 * MIB }).reason, "swap-limit");
  assertEquals(verdict(FILE), { bytes: 4 * MIB, toSwap: 0 });
});

Deno.test("what is mapped once can go, the rest of the mapping stays", () => {
  assertEquals(verdicts({ own: 1 * MIB }), [1, "no-swap"]);
  assertEquals(verdicts({ ...FILE, own: 3 * MIB, anonymous: 2 * MIB }), [3, 2]);
});

Deno.test("how much needs swap", () => {
  const toSwap = (which: Parameters<typeof mapping>[0]) =>
    pageable(mapping(which), withSwap).toSwap / MIB;
  assertEquals(toSwap({}), 4);
  assertEquals(toSwap({ own: 1 * MIB }), 1);
  assertEquals(toSwap(FILE), 0);
  assertEquals(toSwap({ ...FILE, anonymous: 3 * MIB }), 3);
  assertEquals(toSwap({ name: "/memfd:a (deleted)", perm: "rw-s" }), 4);
  assertEquals(toSwap({ flags: ["lo"] }), 0);
});

Deno.test("only one kind of memory goes, and no private copies where files alone may", () => {
  const of = (only: "anon" | "file", which: Parameters<typeof mapping>[0]) => {
    const { bytes, reason } = pageable(mapping(which), { ...withSwap, only });
    return bytes > 0 ? bytes / MIB : reason;
  };
  const tmpfs = { name: "/dev/shm/x", device: TMPFS, perm: "rw-s" };
  const shared = { ...FILE, perm: "rw-s" };
  const code = { ...FILE, perm: "r-xp" };
  for (const anon of [{}, { name: "[heap]" }, tmpfs]) {
    assertEquals([of("anon", anon), of("file", anon)], [4, "spared"]);
  }
  for (const file of [shared, code]) {
    assertEquals([of("anon", file), of("file", file)], ["spared", 4]);
  }
  // Its written pages are anonymous: they would go to swap.
  assertEquals(of("file", { ...FILE, perm: "rw-p" }), "spared");
  assertEquals(of("file", { ...code, anonymous: 4096 }), "spared");
  assertEquals(of("anon", { ...code, anonymous: 4096 }), "spared");
});

Deno.test("once swap writes are used up, only files go, and no private copies", () => {
  const context = {
    ...withSwap,
    swapFree: false,
    whyNoSwap: "swap-writes",
  } as const;
  assertEquals(pageable(mapping({}), context).reason, "swap-writes");
  const shared = mapping({ ...FILE, perm: "r--s" });
  assertEquals(pageable(shared, context).bytes, 4 * MIB);
  assertEquals(mayBePageable(shared, context), true);
  const writable = mapping({ ...FILE, perm: "rw-p" });
  assertEquals(pageable(writable, context).reason, "swap-writes");
  assertEquals(mayBePageable(writable, context), false);
});
