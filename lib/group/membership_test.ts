import { assert, assertEquals } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import "../../tests/support/deadline.ts";
import { join, parseSelector } from "../collection/selectors.ts";
import { NotKnown } from "../errors.ts";
import { openPlatform } from "../platform/system_testing.ts";
import type { Platform, ProcessEntry } from "../platform/platform.ts";
import { Membership } from "./membership.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** A process that only waits. Disposal ends it. */
function waiting(): AsyncDisposable & { pid: number } {
  let hasEnded = false;
  const child = new Deno.Command("sleep", { args: ["600"] }).spawn();
  return {
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      if (!hasEnded) child.kill("SIGKILL");
      hasEnded = true;
      await child.status;
    },
  };
}

/** The processes of this machine; counts how often each is examined closely. */
function counting(platform: Platform): {
  platform: Platform;
  looks: Map<number, number>;
} {
  const looks = new Map<number, number>();
  const count = ({ pid }: ProcessEntry) =>
    looks.set(pid, (looks.get(pid) ?? 0) + 1);
  const counted =
    <T>(look: (entry: ProcessEntry) => T) => (entry: ProcessEntry) => {
      count(entry);
      return look(entry);
    };
  return {
    looks,
    platform: {
      pagedata: platform.pagedata,
      granularity: platform.granularity,
      pageSize: platform.pageSize,
      listPids: () => platform.listPids(),
      listProcesses: () => platform.listProcesses(),
      readProcess: (pid) => platform.readProcess(pid),
      sampleProcess: (pid) => platform.sampleProcess(pid),
      userOf: counted((entry) => platform.userOf(entry)),
      runsProgram: (entry, matches) => {
        count(entry);
        return platform.runsProgram(entry, matches);
      },
      cgroupsOf: counted((entry) => platform.cgroupsOf(entry)),
      open: (entry) => platform.open(entry),
      memory: () => platform.memory(),
      [Symbol.dispose]: () => {},
    },
  };
}

function caps(...selectors: string[][]) {
  return selectors.map((select) => ({
    select: select.map((text) => parseSelector(text)),
  }));
}

const pidsOf = (members: readonly ProcessEntry[]) =>
  members.map(({ pid }) => pid);

Deno.test("unchanged processes are examined again only from time to time", async () => {
  await using process = waiting();
  using real = openPlatform("smaps", () => {});
  const { platform, looks } = counting(real);
  const membership = new Membership(platform, caps([`user:${Deno.uid()}`]));
  const looksIn = async (passes: number) => {
    const before = looks.get(process.pid) ?? 0;
    for (let pass = 0; pass < passes; pass++) {
      const { members: [members] } = await membership.refresh();
      assert(pidsOf(members).includes(process.pid));
    }
    return (looks.get(process.pid) ?? 0) - before;
  };
  // It may still change its user or cgroup.
  assertEquals(await looksIn(4), 4);
  assertEquals(await looksIn(16), 2);
});

Deno.test("a process that belongs to two caps belongs to the first", async () => {
  await using process = waiting();
  using platform = openPlatform("smaps", () => {});
  const membership = new Membership(
    platform,
    caps(["comm:no-such-name"], [`pid:${process.pid}`], ["comm:sleep"]),
  );
  const { members: [none, first, second] } = await membership.refresh();
  assertEquals(none, []);
  assertEquals(pidsOf(first), [process.pid]);
  assert(!pidsOf(second).includes(process.pid));
});

Deno.test("members of a tree come and go", async () => {
  using platform = openPlatform("smaps", () => {});
  const membership = new Membership(platform, caps([`tree:${Deno.pid}`]));
  const process = waiting();
  const { members: [grown] } = await membership.refresh();
  // The tree is that of rcap itself, which is never a member.
  assert(pidsOf(grown).includes(process.pid));
  assert(!pidsOf(grown).includes(Deno.pid));
  await process[Symbol.asyncDispose]();
  const { members: [shrunk] } = await membership.refresh();
  assert(!pidsOf(shrunk).includes(process.pid));
});

Deno.test({
  name:
    "a pid in a selector means the process that has it now, and no later one",
  // Only root can choose the pid of a process.
  ignore: Deno.uid() !== 0,
  async fn() {
    using platform = openPlatform("smaps", () => {});
    const first = waiting();
    const { pid } = first;
    const select = caps([`pid:${pid}`], ["comm:sleep"]);
    const membership = new Membership(platform, select);
    assertEquals(pidsOf((await membership.refresh()).members[0]), [pid]);
    await first[Symbol.asyncDispose]();
    assertEquals((await membership.refresh()).members[0], []);

    // Start times are in ticks of 10 ms; in practice no pid is reused that fast.
    await new Promise((resolve) => setTimeout(resolve, 50));
    await using second = await processWithPid(pid);
    const { members: [named, others] } = await membership.refresh();
    assertEquals(named, []);
    assert(pidsOf(others).includes(second.pid));
    // A reload keeps the meaning of the pid.
    const reloaded = new Membership(platform, select, { previous: membership });
    assertEquals((await reloaded.refresh()).members[0], []);
    const anew = new Membership(platform, select);
    assertEquals(pidsOf((await anew.refresh()).members[0]), [pid]);
  },
});

/** Starts a process with a given free pid: `ns_last_pid` of proc_sys_kernel(5). */
async function processWithPid(pid: number) {
  for (let attempt = 0; attempt < 200; attempt++) {
    Deno.writeTextFileSync("/proc/sys/kernel/ns_last_pid", `${pid - 1}`);
    const process = waiting();
    if (process.pid === pid) return process;
    // Another process took the pid first.
    await process[Symbol.asyncDispose]();
  }
  throw new Error(`no process has got pid ${pid}`);
}

const limits = Deno.dlopen("libc.so.6", {
  getrlimit: { parameters: ["i32", "buffer"], result: "i32" },
  setrlimit: { parameters: ["i32", "buffer"], result: "i32" },
}).symbols;

/** Leaves only a number of descriptors free until disposed: getrlimit(2). */
function withDescriptors(free: number): Disposable {
  const RLIMIT_NOFILE = 7;
  const before = new BigUint64Array(2);
  assertEquals(limits.getrlimit(RLIMIT_NOFILE, before), 0);
  const open = new Set(
    [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => Number(name)),
  );
  // Takes the lowest free descriptors; the limit is one above the highest.
  let limit = 0;
  for (let left = free; left > 0 || open.has(limit); limit++) {
    if (!open.has(limit)) left--;
  }
  const now = BigUint64Array.of(BigInt(limit), before[1]);
  assertEquals(limits.setrlimit(RLIMIT_NOFILE, now), 0);
  return {
    [Symbol.dispose]: () =>
      assertEquals(limits.setrlimit(RLIMIT_NOFILE, before), 0),
  };
}

Deno.test("while no descriptor is free, every process stays in its group", async () => {
  await using process = waiting();
  await using other = waiting();
  using platform = openPlatform("smaps", () => {});
  // Every kind of selector that needs a close look, each before one that would match instead.
  for (
    const kind of [`user:${Deno.uid()}`, "exe:*", "cgroup:*", "unit:-.slice"]
  ) {
    const membership = new Membership(
      platform,
      caps([`pid:${other.pid}`], [kind], ["comm:sleep"]),
    );
    const before = await membership.refresh();
    assertEquals(before.exhausted, undefined);
    assertEquals(pidsOf(before.members[0]), [other.pid]);
    assert(pidsOf(before.members[1]).includes(process.pid), kind);

    // Too few to list processes, to read them, or to examine them closely.
    for (const free of [0, 1, 2]) {
      for (let pass = 0; pass < 9; pass++) {
        const { members, exhausted } = await (async () => {
          using _limit = withDescriptors(free);
          return await membership.refresh();
        })();
        assertEquals(pidsOf(members[0]), [other.pid]);
        assert(
          pidsOf(members[1]).includes(process.pid),
          `${kind} ${free} ${pass}`,
        );
        if (free === 0) assert(exhausted?.includes("(EMFILE)"), exhausted);
      }
    }
    const after = await membership.refresh();
    assertEquals(after.exhausted, undefined);
    assert(pidsOf(after.members[1]).includes(process.pid));
  }
});

Deno.test("a process that starts while no descriptor is free is found afterwards", async () => {
  using platform = openPlatform("smaps", () => {});
  const membership = new Membership(platform, caps([`user:${Deno.uid()}`]));
  await membership.refresh();
  await using process = waiting();
  {
    using _limit = withDescriptors(0);
    const { members, exhausted } = await membership.refresh();
    assert(!pidsOf(members[0]).includes(process.pid));
    assert(exhausted?.includes("(EMFILE)"), exhausted);
  }
  const { members, exhausted } = await membership.refresh();
  assert(pidsOf(members[0]).includes(process.pid));
  assertEquals(exhausted, undefined);
});

Deno.test("a pid in a selector is resolved later if no descriptor is free at first", async () => {
  await using process = waiting();
  using platform = openPlatform("smaps", () => {});
  let membership: Membership;
  {
    using _limit = withDescriptors(0);
    membership = new Membership(platform, caps([`pid:${process.pid}`]));
  }
  const { members } = await membership.refresh();
  assertEquals(pidsOf(members[0]), [process.pid]);
});

/** The processes of this machine, one of which does not answer. */
function silent(
  platform: Platform,
  isSilent: (entry: ProcessEntry) => boolean,
): Platform {
  return {
    ...counting(platform).platform,
    runsProgram(entry, matches) {
      if (!isSilent(entry)) return platform.runsProgram(entry, matches);
      throw new NotKnown(entry.pid, `${entry.pid} does not answer`);
    },
  };
}

Deno.test("a process that does not answer stays in its cap, and can still join others", async () => {
  await using member = waiting();
  await using stranger = waiting();
  using real = openPlatform("smaps", () => {});
  let isSilent = false;
  const platform = silent(
    real,
    ({ pid }) => pid === stranger.pid || isSilent && pid === member.pid,
  );
  const membership = new Membership(
    platform,
    caps(["exe:*/sleep"], [`user:${Deno.uid()}`]),
  );
  for (let pass = 0; pass < 10; pass++) {
    const { members: [first, second], unknown, exhausted } = await membership
      .refresh();
    assert(pidsOf(first).includes(member.pid));
    assert(!pidsOf(first).includes(stranger.pid));
    assert(pidsOf(second).includes(stranger.pid));
    assert(!pidsOf(second).includes(member.pid));
    assertEquals(exhausted, undefined);
    if (pass < 4) {
      assertEquals(unknown.includes(`${stranger.pid} does not answer`), true);
    }
    isSilent = true;
  }
});

Deno.test("one of several joined selectors suffices to rule a process out", async () => {
  await using process = waiting();
  using real = openPlatform("smaps", () => {});
  const platform = silent(real, ({ pid }) => pid === process.pid);
  const joined = (...texts: string[]) =>
    join(texts.map((text) => parseSelector(text)));
  const membership = new Membership(platform, [
    { select: [joined("exe:*", "user:54399")] },
    { select: [joined("exe:*", `user:${Deno.uid()}`)] },
    { select: [joined("exe:*", "comm:sleep"), joined(`pid:${process.pid}`)] },
  ]);
  const { members, unknown } = await membership.refresh();
  assertEquals(pidsOf(members[0]), []);
  assert(!pidsOf(members[1]).includes(process.pid));
  assert(pidsOf(members[2]).includes(process.pid));
  assertEquals(unknown, [`${process.pid} does not answer`]);
});

Deno.test("however many pods have caps, a process is asked once in which it is", async () => {
  using real = openPlatform("smaps", () => {});
  const { platform } = counting(real);
  let looks = 0;
  const containerOf = ({ pid }: ProcessEntry) => {
    looks++;
    if (pid % 3 === 0) throw new NotKnown(pid, "it does not answer");
    const name = `web-${pid % 200}`;
    return {
      id: undefined,
      name: undefined,
      uid: undefined,
      pod: { namespace: "shop", name, container: undefined },
    };
  };
  const pods = Array.from({ length: 200 }, (_, pod) => [`pod:shop/web-${pod}`]);
  const membership = new Membership(
    { ...platform, containerOf },
    caps(...pods),
  );
  const { members, unknown } = await membership.refresh();
  const found = members.flat().length;
  assert(found > 0 && unknown.length > 0);
  assert(looks <= real.listPids().length + 10, `${looks} looks`);
  for (const [pod, entries] of members.entries()) {
    assert(entries.every(({ pid }) => pid % 200 === pod && pid % 3 !== 0));
  }
});
