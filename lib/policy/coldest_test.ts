/**
 * Tests of keeping a collection under its cap by ages, on a process that lives in
 * memory only.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { parseSelector } from "../collection/selectors.ts";
import { CappedGroup } from "../group/capped_group.ts";
import { Member } from "../group/member.ts";
import type { Pagedata } from "../memory/pagedata.ts";
import { FakeMemory, PAGE, pagedataOf } from "../memory/testing.ts";
import { systemClock } from "../platform/clock.ts";
import { openPlatform } from "../platform/open.ts";
import { Log } from "../platform/output.ts";
import type {
  MappingFigures,
  MonitoredMemory,
  PagedataPurpose,
  Platform,
  ProcessEntry,
} from "../platform/platform.ts";
import { coldest } from "./coldest.ts";

// Opened before the first test, which would seem to leak it otherwise.
libc();

/** Memory that is in use: its references show once, after each refresh. */
const IN_USE = 0x10_0000n;
const IDLE = 0x20_0000n;

/** A process of which others reset the references soon after they show. */
class SharedMemory extends FakeMemory implements MonitoredMemory {
  readonly knowsProportional = false;

  constructor(pid: number) {
    super(pid, [
      { start: IN_USE, pages: "00000000" },
      { start: IDLE, pages: "00000000" },
    ]);
  }

  refresh(): Promise<void> {
    this.#draw("2");
    return Promise.resolve();
  }

  reset(): Promise<void> {
    return this.refresh();
  }

  /** What DAMON does, and the kernel when it looks for pages to reclaim. */
  resetByOthers(): void {
    this.#draw("0");
  }

  async read(purpose: PagedataPurpose): Promise<Pagedata> {
    if (purpose === "scan") return await this.readPagedata();
    return pagedataOf(this.mappings);
  }

  #draw(digit: string): void {
    this.mappings = this.mappings.map((mapping) =>
      mapping.start === IN_USE
        ? { ...mapping, pages: mapping.pages.replaceAll(/\d/g, digit) }
        : mapping
    );
  }

  hasRun(): boolean {
    return true;
  }

  checkAccess(): Promise<void> {
    return Promise.resolve();
  }

  readProportional(): Promise<number> {
    return Promise.resolve(this.readSizes().rss);
  }

  readMappings(): Promise<MappingFigures[]> {
    throw new Error("not asked for here");
  }

  readPageStates(): Promise<Uint8Array> {
    throw new Error("not asked for here");
  }
}

Deno.test("what is in use does not go, though others have reset that at each reading", async () => {
  const memory = new SharedMemory(4711);
  const entry: ProcessEntry = {
    pid: memory.pid,
    startTime: 1,
    comm: "shared",
    ppid: 1,
    layout: "",
    isSystem: false,
    isZombie: false,
    rss: 16 * PAGE,
    image: 16 * PAGE,
    majorFaults: 0,
  };
  using real = openPlatform("smaps", () => {});
  const platform: Platform = Object.create(real, {
    readProcess: { value: () => entry },
  });
  const definition = {
    name: "one",
    select: [parseSelector("pid:4711")],
    maxRss: 12 * PAGE,
    place: "here:1",
  };
  const collection = new CappedGroup(
    1,
    definition,
    (entry) => new Member(entry, memory, () => {}),
  );
  const policy = coldest.forGroup(collection, {
    clock: systemClock,
    signal: new AbortController().signal,
    log: new Log("error"),
  });
  collection.update([entry]);
  collection.sample(platform, systemClock.now());
  const interval = 80;
  await policy.observe({ interval });
  for (let count = 0; count < 3; count++) {
    await systemClock.sleep(interval, new AbortController().signal);
    memory.resetByOthers();
    await policy.observe({ interval });
  }
  memory.resetByOthers();
  const outcome = await policy.enforce(4 * PAGE, {
    interval,
    isOnlyScan: true,
  });
  assert(outcome && outcome.attempted >= 4 * PAGE);
  const starts = memory.pageouts.join(" ").split(" ")
    .map((range) => BigInt(`0x${range.split("-")[0]}`));
  assert(starts.length > 0);
  assertEquals(starts.filter((start) => start < IDLE), []);
});
