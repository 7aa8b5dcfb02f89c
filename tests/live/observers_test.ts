/**
 * Tests of several rcaps that observe one process: none may take for idle what
 * another has reset.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { POLICIES } from "../../lib/config/policy_names.ts";
import { cap, Place, quicklyBy, TestDaemon } from "../support/daemon.ts";
import { assertIntact, MIB, observed, requireRoot } from "../support/live.ts";
import { rcap, rcapJson, startRcap } from "../support/rcap.ts";
import { zramSwap } from "../support/swap.ts";
import {
  majorFaults,
  mappingFigures,
  type Region,
  residentOf,
  rssOf,
  until,
  Workload,
} from "../support/workload.ts";

requireRoot();

const PAGE = 4096;

/** How long the hot memory is not used, in milliseconds: less than an interval. */
const USE_INTERVAL = 2800;

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Uses a region every three seconds, and leaks memory; disposing ends it. */
function useAndLeak(workload: Workload, hot: string): AsyncDisposable {
  let isOver = false;
  const loop = async () => {
    for (let at = 0; !isOver; at++) {
      assert(await workload.checksum(hot));
      await workload.anon(`leak${at}`, 24 * MIB);
      await pause(USE_INTERVAL);
    }
  };
  const end = loop();
  return {
    async [Symbol.asyncDispose]() {
      isOver = true;
      await end;
    },
  };
}

for (const policy of POLICIES) {
  Deno.test(`${policy}: what a process uses stays while all commands run beside the daemon`, async () => {
    await using _swap = await zramSwap({ size: 1024 * MIB });
    await using workload = await Workload.start();
    await workload.small();
    const hot = await workload.anon("hot", 48 * MIB);
    const size = rssOf(workload.pid) + 64 * MIB;
    await using daemon = await TestDaemon.start({
      config: `[daemon]
sample_interval = "4s"
report_interval = "500ms"
policy = "${policy}"
` + cap("one", [`pid:${workload.pid}`], `${size}`),
    });
    await using _use = useAndLeak(workload, "hot");
    await daemon.untilGroup(
      "one",
      ({ statistics }) => statistics.effective >= 16 * MIB,
      "the daemon to page out",
    );
    const faults = majorFaults(workload.pid);
    const pid = String(workload.pid);
    const few = String(size - 16 * MIB);
    const end = hot.start + 65536n;
    const pages = `${hot.start.toString(16)}-${end.toString(16)}`;
    const scan = ["scan", `pid:${pid}`, "--cap", few, "--observe", "5s"];
    for (
      const args of [
        ["inspect", pid, "--ages", "--observe", "15s"],
        ["inspect", pid],
        ["inspect", pid, "--pages", pages],
        [...scan, "--dry-run", "--policy", "clock"],
        ["inspect", pid, "--ages", "--observe", "5s"],
        ["stat", "1", "1", ...daemon.place.stateArgs],
        [...scan, "--dry-run", "--policy", "coldest"],
        ["inspect", pid, "--ages", "--observe", "5s"],
        ["doctor"],
        [...scan, "--policy", "clock"],
        [...scan, "--policy", "coldest"],
        ["inspect", pid, "--ages", "--observe", "15s"],
      ]
    ) {
      const { code, stderr } = await rcap(args);
      assert([0, 3, 4].includes(code), `${args.join(" ")}: ${stderr}`);
    }
    const cameBack = majorFaults(workload.pid) - faults;
    // Single pages may be lost: others, like DAMON, reset references too.
    assert(
      cameBack <= hot.size / PAGE / 20,
      `${cameBack} of ${hot.size / PAGE} pages came back`,
    );
    await assertIntact(workload);
    const { stderr } = await daemon.stop();
    assert(!stderr.includes("warning:"), stderr);
  });
}

Deno.test("clock: what was used before a command does not look idle after it", async () => {
  await using _swap = await zramSwap({ size: 256 * MIB });
  await using workload = await Workload.start();
  await workload.small();
  // The clock goes from low addresses to high ones.
  const used = await workload.anon("used", 48 * MIB);
  const idle = await workload.anon("idle", 64 * MIB);
  const size = rssOf(workload.pid) + 12 * MIB;
  await using daemon = await TestDaemon.start({
    config: quicklyBy("clock") + cap("one", [`pid:${workload.pid}`], `${size}`),
  });
  await observed(workload, idle);
  assert(await workload.checksum("used"));
  const { code, stderr } = await rcap(["inspect", `${workload.pid}`]);
  assertEquals(code, 0, stderr);
  await workload.anon("more", 32 * MIB);
  await daemon.untilGroup(
    "one",
    ({ statistics }) => statistics.effective >= 16 * MIB,
    "the daemon to page out",
  );
  const left = residentOf(workload.pid, used.start, used.end);
  // Single pages may be lost: others, like DAMON, reset references too.
  assert(left >= used.size * 0.95, `${left} of ${used.size} left`);
  await assertIntact(workload);
  await daemon.stop();
});

/** A process of 64 idle MiB, whose references rcap has not reset yet. */
async function startIdle(): Promise<{ workload: Workload; idle: Region }> {
  await using held = new AsyncDisposableStack();
  const workload = held.use(await Workload.start());
  await workload.small();
  const idle = await workload.anon("idle", 64 * MIB);
  held.move();
  return { workload, idle };
}

/** A configuration by which a process is observed and never paged out. */
function observing({ pid }: Workload, policy = "coldest" as const): string {
  const size = Math.ceil(rssOf(pid) / 0.9);
  return quicklyBy(policy) + cap("one", [`pid:${pid}`], `${size}`);
}

/** Begins to inspect a process for a minute. */
function inspectLong({ pid }: Workload) {
  return startRcap([
    "--log-level",
    "info",
    "inspect",
    `${pid}`,
    "--observe",
    "1m",
  ]);
}

const LENDS =
  /rcap \(process \d+\) observes process \d+, and lends its references/;

Deno.test("inspect shows what is in use by readings that the daemon lends", async () => {
  const { workload, idle } = await startIdle();
  await using _ = workload;
  const hot = await workload.anon("hot", 16 * MIB);
  await workload.hot("hot");
  await using daemon = await TestDaemon.start({ config: observing(workload) });
  await observed(workload, idle);
  const { json, stderr } = await rcapJson<{
    mappings: { start: string; referenced: number }[];
  }>(["--log-level", "info", "inspect", `${workload.pid}`]);
  assertMatch(stderr, LENDS);
  const referenced = ({ start }: Region) =>
    json.mappings.find((one) => BigInt(one.start) === start)?.referenced;
  assertEquals(referenced(hot), hot.size);
  assertEquals(referenced(idle), 0);
  const { stderr: log } = await daemon.stop();
  assert(!log.includes("warning:"), log);
});

Deno.test("one of two commands waits for the other, and says for what if that takes long", async () => {
  const { workload, idle } = await startIdle();
  await using _ = workload;
  const args = ["inspect", `${workload.pid}`];
  const both = await Promise.all([rcap(args), rcap(args)]);
  assertEquals(both.map(({ code }) => code), [0, 0]);
  // So that it shows when they are reset.
  assert(await workload.checksum("idle"));
  const long = inspectLong(workload);
  await observed(workload, idle);
  const { code, stderr } = await rcap(args);
  assertEquals(code, 1, stderr);
  assertStringIncludes(
    stderr,
    `rcap (process ${long.child.pid}) observes process ${workload.pid}, and two observers would blind each other; wait until it ends, or stop it`,
  );
  long.child.kill("SIGKILL");
  await long.end();
  assertEquals((await rcap(args)).code, 0, "nothing is left behind");
});

Deno.test("a killed command gives back what it has borrowed at once", async () => {
  const { workload, idle } = await startIdle();
  await using _ = workload;
  await using daemon = await TestDaemon.start({ config: observing(workload) });
  await observed(workload, idle);
  for (let times = 0; times < 3; times++) {
    const long = inspectLong(workload);
    await pause(times * 700 + 1000);
    long.child.kill("SIGKILL");
    await long.end();
  }
  const args = ["--log-level", "info", "inspect", `${workload.pid}`];
  const { code, stderr } = await rcap(args);
  assertEquals(code, 0, stderr);
  assertMatch(stderr, LENDS);
  // The daemon resets again what is referenced, though it may look only once a minute.
  assert(await workload.checksum("idle"));
  await until(
    () => mappingFigures(workload.pid, idle.start).referenced === 0,
    "the daemon to go on",
    120_000,
  );
  await daemon.stop();
});

Deno.test("a command goes on when the daemon that lends is killed, and the next one waits for it", async () => {
  await using _swap = await zramSwap({ size: 256 * MIB });
  const { workload, idle } = await startIdle();
  await using _ = workload;
  using place = new Place();
  const config = observing(workload);
  const first = await TestDaemon.start({ config, place });
  await observed(workload, idle);
  const long = startRcap([
    "--log-level",
    "info",
    "inspect",
    `${workload.pid}`,
    "--observe",
    "20s",
  ]);
  await pause(4000);
  Deno.kill(first.pid, "SIGKILL");
  await first.ended;
  await pause(500);
  // By the new daemon's cap, much has to go.
  const tight = quicklyBy("coldest") +
    cap("one", [`pid:${workload.pid}`], `${rssOf(workload.pid) - 32 * MIB}`);
  await using second = await TestDaemon.start({ config: tight, place });
  const { warning } = await second.untilGroup(
    "one",
    ({ warning }) => warning !== null,
    "the daemon to say who observes",
  );
  assertStringIncludes(
    warning ?? "",
    `rcap (process ${long.child.pid}) observes process ${workload.pid}`,
  );
  assertEquals(residentOf(workload.pid, idle.start, idle.end), idle.size);
  const { code, stderr } = await long.end();
  assertEquals(code, 0, stderr);
  assertMatch(stderr, LENDS);
  await second.untilGroup(
    "one",
    ({ warning, statistics }) =>
      warning === null && statistics.effective >= 24 * MIB,
    "the daemon to go on",
  );
  await assertIntact(workload);
});

Deno.test("of two daemons one observes a process, the other says so and pages out none of it", async () => {
  await using _swap = await zramSwap({ size: 256 * MIB });
  const { workload, idle } = await startIdle();
  await using _ = workload;
  await using first = await TestDaemon.start({ config: observing(workload) });
  await observed(workload, idle);
  const tight = quicklyBy("coldest") +
    cap("one", [`pid:${workload.pid}`], `${rssOf(workload.pid) - 32 * MIB}`);
  await using second = await TestDaemon.start({ config: tight });
  const { warning } = await second.untilGroup(
    "one",
    ({ warning, statistics }) => warning !== null && statistics.samples >= 10,
    "the second to say who observes",
  );
  assertStringIncludes(warning ?? "", `rcap (process ${first.pid}) observes`);
  assertEquals(residentOf(workload.pid, idle.start, idle.end), idle.size);
  await first.stop();
  await second.untilGroup(
    "one",
    ({ statistics }) => statistics.effective >= 24 * MIB,
    "the second to take over",
  );
});

Deno.test("nobody but root can lock processes, or ask a daemon", async () => {
  const { workload } = await startIdle();
  await using _ = workload;
  await using daemon = await TestDaemon.start({ config: observing(workload) });
  const [mode] = await shell("stat -c %a:%U /run/rcap/observers");
  assertEquals(mode, "700:root");
  const sockets = await shell(
    `ls /run/rcap/observers | grep -- '-${daemon.pid}$'`,
  );
  assertEquals(sockets.length, 1);
  const socket = `/run/rcap/observers/${sockets[0]}`;
  assertEquals(await shell(`stat -c %a:%U ${socket}`), ["600:root"]);
  const connect =
    `perl -MIO::Socket::UNIX -e 'exit(IO::Socket::UNIX->new("${socket}") ? 0 : $!)'`;
  assertEquals(await shell(`${connect}; echo $?`), ["0"]);
  const asNobody = `setpriv --reuid 65534 --regid 65534 --clear-groups`;
  assertEquals(await shell(`${asNobody} ${connect}; echo $?`), ["13"]);
  await daemon.stop();
  assertEquals(await shell(`ls ${socket} 2>/dev/null || echo none`), ["none"]);
});

/** The lines that a command of the shell prints. */
async function shell(command: string): Promise<string[]> {
  const { stdout } = await new Deno.Command("sh", { args: ["-c", command] })
    .output();
  return new TextDecoder().decode(stdout).trim().split("\n");
}
