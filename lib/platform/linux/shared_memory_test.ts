/**
 * Tests of the search for processes that share one address space, by comparison.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { ProcessEntry } from "../platform.ts";
import { firstOfSpaces, SpaceOrder } from "./shared_memory.ts";
import { HIDDEN_LAYOUT } from "./stat.ts";

/** A process, and the number of its address space. */
interface Known {
  readonly entry: ProcessEntry;
  space: number;
}

/** A machine whose address spaces can be compared. */
class Machine {
  readonly processes: Known[] = [];
  comparisons = 0;
  /** The result of the next comparisons instead of the right one. */
  instead: undefined | "never" | "unknown";
  readonly order = new SpaceOrder((one, other) => {
    this.comparisons++;
    if (this.instead === "never") return Promise.resolve("never");
    if (this.instead === "unknown") return Promise.resolve(undefined);
    const [a, b] = [one, other].map(({ pid }) => this.spaceOf(pid));
    return Promise.resolve(a === b ? 0 : a < b ? 1 : 2);
  });

  start(space: number, layout = "1 2 3"): Known {
    const pid = 100 + this.processes.length;
    const process = {
      space,
      entry: {
        pid,
        startTime: pid,
        layout,
        comm: "one",
        ppid: 1,
        isSystem: false,
        isZombie: false,
        mainThreadExited: false,
        rss: 4096,
        image: 8192,
        majorFaults: 0,
      },
    };
    this.processes.push(process);
    return process;
  }

  exit(process: Known): void {
    this.processes.splice(this.processes.indexOf(process), 1);
  }

  spaceOf(pid: number): number {
    const found = this.processes.find(({ entry }) => entry.pid === pid);
    assert(found);
    return found.space;
  }

  async search(): Promise<[number, number][]> {
    this.comparisons = 0;
    const entries = this.processes.map(({ entry }) => entry);
    return [...await this.order.search(entries)];
  }
}

Deno.test("processes with one object for their space share it; the first of the list counts", () => {
  const machine = new Machine();
  const entries = [1, 2, 1, 3, 1].map((space) => machine.start(space).entry);
  const spaces = [{}, {}, {}, {}];
  const shared = firstOfSpaces(
    entries,
    ({ pid }) => pid === 103 ? undefined : spaces[machine.spaceOf(pid)],
  );
  assertEquals([...shared], [[102, 100], [104, 100]]);
});

Deno.test("processes with layouts of their own are never compared", async () => {
  const machine = new Machine();
  for (let space = 0; space < 100; space++) machine.start(space, `${space}`);
  assertEquals(await machine.search(), []);
  assertEquals(machine.comparisons, 0);
});

Deno.test("forked processes are told apart, each is compared a few times and once only", async () => {
  const machine = new Machine();
  for (let space = 0; space < 64; space++) machine.start(space * 37 % 64);
  const child = machine.start(5);
  assertEquals((await machine.search()).length, 1);
  assert(machine.comparisons <= 64 * 7, `${machine.comparisons}`);
  const [[pid, first]] = await machine.search();
  assertEquals(pid, child.entry.pid);
  assertEquals(machine.spaceOf(first), 5);
  assertEquals(machine.comparisons, 1, "only those that share are compared");
  machine.start(100);
  await machine.search();
  assert(machine.comparisons <= 8, `${machine.comparisons}`);
});

Deno.test("when the first exits, the next one counts", async () => {
  const machine = new Machine();
  const [first] = [7, 7, 7].map((space) => machine.start(space));
  assertEquals(await machine.search(), [[101, 100], [102, 100]]);
  machine.exit(first);
  assertEquals(await machine.search(), [[102, 101]]);
});

Deno.test("a process that executes a program with the same addresses shares no more", async () => {
  const machine = new Machine();
  const [, child] = [7, 7].map((space) => machine.start(space));
  assertEquals(await machine.search(), [[101, 100]]);
  child.space = 8;
  assertEquals(await machine.search(), []);
  assertEquals(await machine.search(), [], "it has a place of its own");
});

Deno.test("a search is limited, small families come first, and the rest is found in the next", async () => {
  const machine = new Machine();
  for (let space = 0; space < 2000; space++) machine.start(space, "crowd");
  machine.start(1999, "crowd");
  const pair = [5000, 5000].map((space) => machine.start(space, "pair"));
  const [one, other] = pair.map(({ entry }) => entry.pid);
  assertEquals(await machine.search(), [[other, one]]);
  assert(machine.comparisons <= 1001, `${machine.comparisons}`);
  let searches = 1;
  while ((await machine.search()).length < 2) searches++;
  assert(searches < 40, `${searches}`);
});

Deno.test("what cannot be compared now is compared later, and what never can is not again", async () => {
  const machine = new Machine();
  [7, 7].forEach((space) => machine.start(space));
  machine.instead = "unknown";
  assertEquals(await machine.search(), []);
  machine.instead = undefined;
  assertEquals(await machine.search(), [[101, 100]]);
  machine.start(7);
  machine.instead = "never";
  await machine.search();
  machine.instead = undefined;
  const { comparisons } = machine;
  assert(comparisons > 0);
  const shared = await machine.search();
  assert(!shared.some(([pid]) => pid === 102), "it was refused");
});

Deno.test("processes whose layout is hidden are not compared", async () => {
  const machine = new Machine();
  [7, 7].forEach((space) => machine.start(space, HIDDEN_LAYOUT));
  assertEquals(await machine.search(), []);
  assertEquals(machine.comparisons, 0);
});
