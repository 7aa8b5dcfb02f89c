/**
 * Proves rcap on the kernels of Debian's releases. Each boots in a virtual
 * machine, with four- or five-level page tables, with swap on zram and with
 * large pages as it has them by default. There, rcap looks at a process with
 * exactly known hot and cold memory, and takes some of it: see `guest.sh`.
 *
 * `deno task test:vm` runs this, `criu.ts` and `reclaim.ts`, on the binary that `RCAP_BIN`
 * names or else on `dist/rcap`. `RCAP_VM=6.1-la57,newest-4level` chooses some of
 * the machines. `deno task test` leaves it out: each machine takes half a minute,
 * and the first run fetches packages of 200 MB.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { cProgram } from "../support/c_program.ts";
import { binary, isChosen } from "./choice.ts";
import type { Release } from "./debian.ts";
import { type Guest, runGuest } from "./guest.ts";

const MIB = 2 ** 20;

/** Where reference bits come from: every kernel here lets page tables be read. */
const PAGEDATA = "pte";

/** How long a machine may run; emulated, it takes its time. */
const TIMEOUT_SECONDS = 1200;

/** A machine to test on. */
interface Machine {
  release: Release;
  /** What `uname -r` starts with. */
  kernel: string;
  /** Levels of the page tables. */
  levels: 4 | 5;
  /** Whether a virtual machine is started in it; one of them suffices. */
  hasVirtualMachine?: boolean;
}

const MACHINES: ReadonlyMap<string, Machine> = new Map([
  ["6.1-la57", { release: "bookworm", kernel: "6.1.", levels: 5 }],
  ["6.12-la57", { release: "trixie", kernel: "6.12.", levels: 5 }],
  ["6.12-4level", {
    release: "trixie",
    kernel: "6.12.",
    levels: 4,
    hasVirtualMachine: true,
  }],
  ["newest-la57", { release: "sid", kernel: "", levels: 5 }],
  ["newest-4level", { release: "sid", kernel: "", levels: 4 }],
]);

/** What `guest.sh` has the scan take. */
const EXCESS = 72 * MIB;

/** How much the process in the cgroup `limited` has, at least. */
const LIMITED = 32 * MIB;

/** Of these, what is kept is never written; the rest is written when it is filled. */
const CLEAN = ["hotfile"];

/** How far the kernel's count of resident pages may lag behind. */
const LAG = MIB;

/** What `guest.sh` has the workload map; of `mixed`, the first half is hot. */
const REGIONS = ["mixed", "cold", "read", "written", "coldfile", "hotfile"];
const HOT = ["read", "written", "hotfile"];
const COLD = ["cold", "coldfile"];

/** Addresses, the end exclusive. */
interface Range {
  start: bigint;
  end: bigint;
}

/** Addresses as JSON has them. */
interface RangeText {
  start: string;
  end: string;
}

interface Doctor {
  capabilities: { name: string; status: string; detail: string }[];
}

interface Inspection {
  pagedata: string;
  mappings: (RangeText & {
    rss: number;
    own: number;
    referenced: number;
    modified: number;
    verdict: string;
  })[];
}

interface Scan {
  pagedata: string;
  excess: number;
  effective: number;
  attempted: number;
  capMet: boolean;
  stayed: { reason: string | null; bytes: number; limit?: string }[];
  processes: {
    pageouts: (RangeText & { result: string })[];
    error: string | null;
  }[];
}

for (const [name, machine] of MACHINES) {
  if (!isChosen(name)) continue;
  Deno.test(`rcap on Debian's kernel ${name}`, async () => {
    const guest = await runGuest({
      release: machine.release,
      cpu: machine.levels === 5 ? "max" : "max,-la57",
      rcap: binary(),
      virtualMachine: machine.hasVirtualMachine
        ? await cProgram("virtual_machine", ["-static"])
        : undefined,
      init: new URL("guest.sh", import.meta.url).pathname,
      timeoutSeconds: TIMEOUT_SECONDS,
    });
    try {
      // The last one: after it, none is missing.
      guest.output("done");
      checkKernel(guest, machine);
      checkDoctor(guest);
      checkInspection(guest);
      checkScan(guest);
      checkWorkload(guest);
      checkSwapLimit(guest);
      if (machine.hasVirtualMachine) checkVirtualMachine(guest);
    } catch (error) {
      throw guest.explain(error);
    }
  });
}

function checkKernel(guest: Guest, { kernel, levels }: Machine): void {
  const text = guest.output("kernel");
  assert(text.startsWith(kernel), text);
  // The kernel names the feature where it has five levels.
  assertEquals(/^la57$/m.test(text), levels === 5, text);
  // What all else builds upon.
  guest.output("quiet_kernel");
  guest.output("zram");
}

function checkDoctor(guest: Guest): void {
  const { capabilities } = guest.json<Doctor>("doctor");
  const byName = new Map(capabilities.map((it) => [it.name, it]));
  const works = [
    "process_madvise",
    "map counts",
    "swap",
    "zram",
    "BTF",
    "BPF",
  ];
  for (const name of works) {
    const { status, detail } = byName.get(name) ?? {};
    assertEquals(status, "ok", `${name}: ${detail}`);
  }
  const { pagedata } = guest.json<Inspection>("inspect");
  assertEquals(pagedata, PAGEDATA);
  const detail = byName.get("pagedata")?.detail ?? "";
  assertStringIncludes(detail, pagedata);
  // Debian's kernels keep soft-dirty bits.
  assertStringIncludes(detail, "reset by MADV_COLD");
}

function checkInspection(guest: Guest): void {
  const { mappings } = guest.json<Inspection>("inspect");
  for (const name of REGIONS) {
    const { start, end } = region(guest, name);
    const mapping = mappings.find((it) => BigInt(it.start) === start);
    assert(mapping !== undefined, name);
    const size = Number(end - start);
    assertEquals(mapping.rss, size, name);
    // All of them are mapped once, whatever the size of their pages.
    assertEquals(mapping.own, size, `${name} own`);
    const [referenced, verdict] = HOT.includes(name)
      ? [size, "hot"]
      : COLD.includes(name)
      ? [0, "cold"]
      : [size / 2, "warm"];
    assertEquals(mapping.referenced, referenced, name);
    assertEquals(mapping.verdict, verdict, name);
    // An upper bound: the soft-dirty bits of Debian's kernels are for others.
    const modified = CLEAN.includes(name) ? 0 : referenced;
    assertEquals(mapping.modified, modified, `${name} modified`);
  }
}

function checkScan(guest: Guest): void {
  const scan = guest.json<Scan>("scan");
  assertEquals(scan.pagedata, PAGEDATA);
  assert(scan.capMet);
  assert(Math.abs(scan.excess - EXCESS) < LAG, `${scan.excess}`);
  assert(scan.effective >= scan.excess, `${scan.effective}`);
  const [{ pageouts, error }] = scan.processes;
  assertEquals(error, null);

  // That hot memory is in place afterwards is not enough: it comes back.
  const ranges = pageouts.map(toRange);
  const [hotHalf, coldHalf] = halves(region(guest, "mixed"));
  for (const hot of [...HOT.map((name) => region(guest, name)), hotHalf]) {
    assertEquals(overlap(ranges, hot), 0);
  }
  // References of mappings keep all of one that is hot in part; those of pages
  // do not, and it is the first one that a scan comes to.
  const expected = sizeOf(coldHalf);
  assertEquals(overlap(ranges, coldHalf), expected);
}

function checkWorkload(guest: Guest): void {
  const resident = (name: string) =>
    guest.json<{ bytes: number }>(`resident_${name}`).bytes;
  for (const name of HOT) {
    assertEquals(resident(name), sizeOf(region(guest, name)), name);
  }
  const gone = REGIONS.map((name) =>
    sizeOf(region(guest, name)) - resident(name)
  );
  const sum = gone.reduce((total, bytes) => total + bytes);
  assert(sum >= EXCESS - LAG, `${sum}`);
  assertEquals(guest.json("checksum"), { ok: true });
}

/** A cgroup that may not swap, or not enough: nothing is tried that cannot go. */
function checkSwapLimit(guest: Guest): void {
  const { mappings } = guest.json<Inspection>("limited_inspect");
  const heap = Math.max(...mappings.map(({ rss }) => rss));
  assert(heap >= LIMITED, `${heap}`);
  const verdicts = mappings.filter(({ rss }) => rss === heap)
    .map(({ verdict }) => verdict);
  assertEquals(verdicts, ["swap-limit"]);

  const none = guest.json<Scan>("limited_scan");
  assert(!none.capMet);
  assert(none.attempted < LIMITED / 2, `${none.attempted}`);
  const [stay] = none.stayed;
  assertEquals(stay.reason, "swap-limit");
  assert(stay.bytes >= LIMITED, `${stay.bytes}`);
  assertEquals(
    stay.limit,
    "cgroup /limited may not swap (memory.swap.max is 0)",
  );

  const some = guest.json<Scan>("limited_scan_some");
  assert(!some.capMet);
  assertEquals(
    some.stayed.find(({ reason }) => reason === "swap-limit")?.limit,
    "cgroup /limited may not swap more (memory.swap.max is 8.0M)",
  );
  assertEquals(Number(guest.output("limited_swap")), 8 * MIB);
}

/** It is recognized through BPF and without. */
function checkVirtualMachine(guest: Guest): void {
  guest.output("virtual_machine");
  for (const source of ["pte", "smaps"]) {
    const { code, stdout } = guest.step(`leave_${source}`);
    const { pagedata, effective, processes }: Scan = JSON.parse(stdout);
    assertEquals([code, pagedata, effective], [3, source, 0]);
    assertStringIncludes(processes[0].error ?? "", "is left alone");
  }
}

/** Where the workload has a region. */
function region(guest: Guest, name: string): Range {
  return toRange(guest.json<RangeText>(`map_${name}`));
}

function toRange({ start, end }: RangeText): Range {
  return { start: BigInt(start), end: BigInt(end) };
}

function halves({ start, end }: Range): [Range, Range] {
  const middle = (start + end) / 2n;
  return [{ start, end: middle }, { start: middle, end }];
}

function sizeOf({ start, end }: Range): number {
  return Number(end - start);
}

/** How many bytes of one range are in others, which do not overlap. */
function overlap(ranges: Range[], { start, end }: Range): number {
  const sizes = ranges.map((it) =>
    sizeOf({
      start: it.start > start ? it.start : start,
      end: it.end < end ? it.end : end,
    })
  );
  return sizes.reduce((sum, size) => sum + Math.max(0, size), 0);
}
