/**
 * Tests of which processes selectors match, by dry runs on live processes under the
 * cap, which end at once.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { ScanReport } from "../../../lib/oneshot/scan_once.ts";
import { Cgroup, cgroupMounts } from "../../support/cgroups.ts";
import { requireRoot, scanJson } from "../../support/live.ts";
import { rcap, startRcap } from "../../support/rcap.ts";
import { Workload } from "../../support/workload.ts";

requireRoot();

/** A user that need not exist. */
const SOMEONE = 54_331;

/** A word that no other process has in its name, which the kernel cuts to 15 bytes. */
function uniqueWord(): string {
  return `rcap${crypto.randomUUID().slice(0, 4)}`;
}

async function scanned(...selectors: string[]): Promise<ScanReport> {
  const args = [...selectors, "--dry-run", "--cap", "1P"];
  return (await scanJson(args)).report;
}

/** The pids that selectors match. */
async function selected(...selectors: string[]): Promise<number[]> {
  return (await scanned(...selectors)).processes.map(({ pid }) => pid);
}

/** Asserts that selectors match exactly these processes. */
async function assertSelects(
  selectors: string[],
  members: { pid: number }[],
): Promise<void> {
  const pids = members.map(({ pid }) => pid).sort((a, b) => a - b);
  assertEquals(await selected(...selectors), pids, selectors.join(" "));
}

/** Asserts that selectors match nothing. */
async function assertSelectsNothing(...selectors: string[]): Promise<void> {
  const { code, stderr } = await rcap(["scan", ...selectors, "--cap", "1P"]);
  assertEquals(code, 5, stderr);
}

Deno.test("by pid, as a union without duplicates", async () => {
  await using first = await Workload.start();
  await using second = await Workload.start();
  const { processes, rss } = await scanned(
    `${first.pid}`,
    `pid:${second.pid}`,
    `pid:${first.pid}`,
    `tree:${first.pid}`,
  );
  const pids = [first.pid, second.pid].sort((a, b) => a - b);
  assertEquals(processes.map(({ pid }) => pid), pids);
  assertEquals(processes.map(({ comm }) => comm), ["perl", "perl"]);
  // Each counts once.
  assertEquals(rss, processes.reduce((sum, { rss }) => sum + (rss ?? 0), 0));
});

Deno.test("by descent, never rcap itself", async () => {
  await using parent = await Workload.start();
  const children = [await parent.fork(), await parent.fork()];
  const zombie = await parent.zombie();
  await assertSelects([`tree:${parent.pid}`], [
    parent,
    ...children.map((pid) => ({ pid })),
  ]);
  await assertSelects([`tree:${children[0]}`], [{ pid: children[0] }]);

  // The workload is a child of this test, and its children are grandchildren.
  const running = startRcap([
    "scan",
    `tree:${Deno.pid}`,
    "--dry-run",
    "--cap",
    "1P",
    "--json",
  ]);
  const { code, stdout, stderr } = await running.end();
  assertEquals(code, 0, stderr);
  const report: ScanReport = JSON.parse(stdout);
  const pids = report.processes.map(({ pid }) => pid);
  for (const pid of [Deno.pid, parent.pid, ...children]) {
    assert(pids.includes(pid), `${pid} of ${pids}`);
  }
  for (const pid of [running.child.pid, zombie]) {
    assert(!pids.includes(pid), `not ${pid} of ${pids}`);
  }
});

Deno.test("by user, by name or by number", async () => {
  await using first = await Workload.start({ uid: SOMEONE });
  await using second = await Workload.start({ uid: SOMEONE });
  await using other = await Workload.start({ uid: SOMEONE + 1 });
  await assertSelects([`user:${SOMEONE}`], [first, second]);

  // Every Debian system has this user, without processes.
  const [, uid] = /^games:[^:]*:(\d+):/m.exec(
    Deno.readTextFileSync("/etc/passwd"),
  ) ?? [];
  assert(uid !== undefined, "there is no user games");
  await using named = await Workload.start({ uid: Number(uid) });
  await assertSelects(["user:games"], [named]);
  await assertSelects([`user:${uid}`, `user:${SOMEONE + 1}`], [named, other]);
});

Deno.test("by command name", async () => {
  const word = uniqueWord();
  await using plain = await Workload.start({ name: `${word} a` });
  await using odd = await Workload.start({ name: `${word}) S\n(b` });
  await assertSelects([`comm:${word}*`], [plain, odd]);
  await assertSelects([`comm:${word} a`], [plain]);
  await assertSelects([`comm:${word} [!b]`], [plain]);
  await assertSelects([`comm:${word}?*b`], [odd]);
  await assertSelects([`comm:${word}) S\n(b`], [odd]);
  await assertSelectsNothing(`comm:${word}`);
  await assertSelectsNothing(`comm:${word.toUpperCase()}*`);

  // On one line in the table, as it is in JSON.
  const { stdout } = await rcap([
    "scan",
    `${odd.pid}`,
    "--cap",
    "1P",
    "-H",
    "-o",
    "comm,pid",
  ]);
  assertEquals(stdout, `${word}) S\\n(b\t${odd.pid}\n`);
  const { processes } = await scanned(`${odd.pid}`);
  assertEquals(processes[0].comm, `${word}) S\n(b`);
});

Deno.test("by program, even a deleted one", async () => {
  const folder = Deno.makeTempDirSync({ prefix: "rcap-" });
  using _removed = {
    [Symbol.dispose]: () => Deno.removeSync(folder, { recursive: true }),
  };
  const perl = `${folder}/my perl`;
  const perlPath = new TextDecoder().decode(
    (await new Deno.Command("perl", { args: ["-e", "print $^X"] }).output())
      .stdout,
  );
  Deno.copyFileSync(perlPath, perl);
  await using workload = await Workload.start({ perl });
  await using other = await Workload.start();
  const selectors = [
    `exe:${perl}`,
    `exe:${folder}/*`,
    `exe:*/${folder.split("/").at(-1)}/my?perl`,
  ];
  for (const selector of selectors) await assertSelects([selector], [workload]);
  Deno.removeSync(perl);
  for (const selector of selectors) await assertSelects([selector], [workload]);
  const others = await selected(`exe:${Deno.realPathSync(perlPath)}`);
  assert(others.includes(other.pid));
  assert(!others.includes(workload.pid));
});

/**
 * Mounts where cgroups can be created and filled: at most one of each version, see
 * cgroups(7).
 */
function usableMounts(): string[] {
  const mounts = cgroupMounts()
    // A cpuset accepts no process before it has processors.
    .filter(({ options }) => !options.includes("cpuset"));
  return [1, 2].flatMap((wanted) =>
    mounts.filter(({ version, path }) => version === wanted && isWritable(path))
      .slice(0, 1).map(({ path }) => path)
  );
}

function isWritable(mount: string): boolean {
  const probe = `${mount}/${uniqueWord()}`;
  try {
    Deno.mkdirSync(probe);
    Deno.removeSync(probe);
    return true;
  } catch {
    return false;
  }
}

Deno.test("by cgroup, of either version", async () => {
  const mounts = usableMounts();
  assert(mounts.length > 0, "no cgroup can be made here: mount one writable");
  for (const mount of mounts) {
    const word = uniqueWord();
    await using _parent = new Cgroup(mount, word);
    await using service = new Cgroup(mount, `${word}/${word}.service`);
    await using worker = new Cgroup(mount, `${word}/${word}.service/worker`);
    await using scope = new Cgroup(mount, `${word}/${word}.scope`);
    await using inService = await Workload.start();
    await using inWorker = await Workload.start();
    await using inScope = await Workload.start();
    await using _elsewhere = await Workload.start();
    service.put(inService);
    worker.put(inWorker);
    scope.put(inScope);

    const unit = [inService, inWorker];
    const all = [...unit, inScope];
    await assertSelects([`cgroup:*/${word}/${word}.service`], [inService]);
    await assertSelects([`cgroup:*/${word}/*.service*`], unit);
    await assertSelects([`cgroup:*/${word}/*`], all);
    await assertSelects([
      `cgroup:*/${word}*`,
      `${inScope.pid}`,
      `tree:${inWorker.pid}`,
    ], all);
    await assertSelectsNothing(`cgroup:/no-such-cgroup/${word}`);
  }
});
