/**
 * Tests of membership: which processes are selected.
 *
 * @module
 */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Sleeper } from "../../ffi/testing.ts";
import { NoMatch, NoSuchProcess } from "../errors.ts";
import { openPlatform, system } from "../platform/system_testing.ts";
import { requireProcess, selectProcesses, whyNot } from "./members.ts";
import { parseArguments } from "./selectors.ts";

const platform = openPlatform("smaps", () => {});

async function select(...selectors: string[]) {
  const { processes, problems } = await selectProcesses(
    await parseArguments(selectors, system),
    platform,
  );
  return { pids: processes.map(({ pid }) => pid), problems };
}

Deno.test("rcap itself, kernel threads and zombies are never selected", () => {
  const process = {
    ...platform.readProcess(Deno.pid),
    pid: 42,
    comm: "x",
    ppid: 7,
  };
  assertEquals(whyNot(process), undefined);
  assertEquals(
    whyNot({ ...process, pid: Deno.pid }),
    `process ${Deno.pid} is rcap itself`,
  );
  assertEquals(
    whyNot({ ...process, isSystem: true }),
    "process 42 (x) is a kernel thread, which has no memory of its own",
  );
  assertEquals(
    whyNot({ ...process, isZombie: true }),
    "process 42 (x) is a zombie: it has exited and waits for its parent 7 to reap it",
  );
  assertEquals(
    whyNot({ ...process, image: 0 }),
    "process 42 (x) is exiting: it has released its memory",
  );
});

Deno.test("selectors form a union, ordered by pid and without duplicates", async () => {
  await using first = await Sleeper.start();
  await using second = await Sleeper.start();
  const pids = [first.pid, second.pid].sort((a, b) => a - b);
  const [a, b] = pids;
  assertEquals(await select(`${b}`, `pid:${a}`, `tree:${b}`, `${a}`), {
    pids,
    problems: [],
  });
  // The tree of this process is its children, including the tests' watchdog; the
  // process itself counts as rcap here.
  const tree = (await select(`tree:${Deno.pid}`)).pids;
  assertEquals(tree.filter((pid) => pids.includes(pid)), pids);
  assertEquals(
    new Set(tree.map((pid) => platform.readProcess(pid).ppid)),
    new Set([Deno.pid]),
  );
});

Deno.test("a selector that matches nothing is reported and does not affect others", async () => {
  await using sleeper = await Sleeper.start();
  const { pid } = sleeper;
  assertEquals(await select(`${pid}`, "comm:no such thing", `${Deno.pid}`), {
    pids: [pid],
    problems: [
      `no process matches selector "comm:no such thing"`,
      `process ${Deno.pid} is rcap itself`,
    ],
  });
});

Deno.test("if nothing matches, the message says why for each selector", async () => {
  await using sleeper = await Sleeper.start();
  const { pid } = sleeper;
  await sleeper.end();
  const error = await assertRejects(
    () => select(`pid:${pid}`, `tree:${pid}`, "comm:?no such thing?"),
    NoMatch,
  );
  assertEquals(
    error.message,
    `no process has pid ${pid}; no process has pid ${pid}; no process matches selector "comm:?no such thing?"`,
  );
});

Deno.test("a selector that matches nothing, and looks like joined ones, is explained", async () => {
  const error = await assertRejects(() => select("comm:a + user:b"), NoMatch);
  assertEquals(
    error.message,
    `no process matches selector "comm:a + user:b"; to join selectors, write each and the + between them as an argument of its own, without quotation marks around all of them, or in a configuration as a list within select`,
  );
});

Deno.test("a single process is returned, or the message says why not", async () => {
  await using sleeper = await Sleeper.start();
  const { pid } = sleeper;
  assertEquals(requireProcess(pid, platform).pid, pid);
  await sleeper.end();
  assertThrows(
    () => requireProcess(pid, platform),
    NoSuchProcess,
    `no process has pid ${pid}`,
  );
  assertThrows(
    () => requireProcess(Deno.pid, platform),
    NoSuchProcess,
    `process ${Deno.pid} is rcap itself`,
  );
});
