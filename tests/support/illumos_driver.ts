/**
 * Runs the illumos platform in a separate process, for tests below the level of
 * commands: `illumos_driver.ts MODE JSON`. Prints the result as JSON.
 *
 * @module
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { configPaths } from "../../lib/config/config_files.ts";
import { LiveConfig } from "../../lib/config/live_config.ts";
import { NoMatch, NoSuchProcess, ProcessError } from "../../lib/errors.ts";
import { daemonState } from "../../lib/group/testing.ts";
import type { ProcessMemory } from "../../lib/memory/process_memory.ts";
import { scanOnce } from "../../lib/oneshot/scan_once.ts";
import {
  type IllumosPaths,
  IllumosPlatform,
} from "../../lib/platform/illumos/illumos_platform.ts";
import { illumos } from "../../lib/platform/illumos/system.ts";
import type { OperatingSystem } from "../../lib/platform/operating_system.ts";
import { Log } from "../../lib/platform/output.ts";
import type { ProcessEntry } from "../../lib/platform/platform.ts";
import {
  ScanCollection,
  ScannedProcess,
} from "../../lib/scanner/collection.ts";
import { scan } from "../../lib/scanner/scan.ts";
import { Notifier } from "../../lib/service/notify.ts";
import {
  holderOf,
  readState,
  StateDirectory,
  writeByHand,
} from "../../lib/service/state_directory.ts";
import { OVERRIDES } from "../../lib/service/numbers_by_name.ts";
import { assertFree } from "./illumos.ts";
import { say } from "./say.ts";

/** The input of a mode. */
interface Task {
  readonly paths: IllumosPaths;
  readonly pids: readonly number[];
  readonly rounds: number;
}

const MIB = 2 ** 20;

/** How many collections the processes of a crowd are divided into. */
const COLLECTIONS = 10;

/** Functions that the library has for tests. */
function controls({ libproc }: IllumosPaths) {
  const { symbols } = Deno.dlopen(libproc, {
    rcap_test_set: { parameters: ["buffer"], result: "i32" },
    rcap_test_calls: { parameters: [], result: "i64" },
  });
  return {
    set(faults: string) {
      const text = new TextEncoder().encode(`${faults}\0`);
      assertEquals(symbols.rcap_test_set(text), 0, faults);
    },
    calls: () => Number(symbols.rcap_test_calls()),
  };
}

/** Number of open descriptors, including those for Deno's signals, which stay open. */
function openDescriptors(): number {
  const listener = () => {};
  Deno.addSignalListener("SIGTSTP", listener);
  Deno.removeSignalListener("SIGTSTP", listener);
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

function collectionOf(
  platform: IllumosPlatform,
  pids: readonly number[],
): ScanCollection {
  return new ScanCollection(
    pids.map((pid) =>
      new ScannedProcess(platform.open(platform.readProcess(pid)))
    ),
  );
}

/** An exception that rcap itself never throws. */
class Thrown extends Error {}

/** The memory of a process that throws an exception while it is controlled. */
function throwingIn(place: string, memory: ProcessMemory): ProcessMemory {
  let sizes = 0;
  return {
    pid: memory.pid,
    readPagedata: () => memory.readPagedata(),
    closePagedata: () => memory.closePagedata(),
    readResidency: () => memory.readResidency(),
    readSizes() {
      // The first reading comes before control is taken.
      if (place === "sizes" && sizes++ > 0) throw new Thrown(place);
      return memory.readSizes();
    },
    async control() {
      const control = await memory.control();
      return {
        maxRanges: control.maxRanges,
        async pageOut(ranges, signal) {
          const results = await control.pageOut(ranges, signal);
          if (place === "page-out") throw new Thrown(place);
          return results;
        },
        [Symbol.dispose]: () => control[Symbol.dispose](),
      };
    },
  };
}

/** What a daemon and the commands that control it do with the system. */
async function serviceFacts(
  system: OperatingSystem,
  self: ProcessEntry,
): Promise<boolean[]> {
  const folder = Deno.makeTempDirSync({ prefix: "rcap-" });
  using cleanup = new DisposableStack();
  cleanup.defer(() => Deno.removeSync(folder, { recursive: true }));
  Deno.writeTextFileSync(
    `${folder}/rcap.toml`,
    '[[cap]]\nname = "one"\nselect = ["zone:global"]\nmax_rss = "1G"\n',
  );
  const log = new Log("error");
  const config = await new LiveConfig(
    configPaths(`${folder}/rcap.toml`),
    system,
    log,
  ).load();
  const before = system.ownUsage();
  const busyUntil = performance.now() + 50;
  while (performance.now() < busyUntil);
  const path = `${folder}/state`;
  const facts = [
    config.caps.length === 1,
    before.rss > 0 && system.ownUsage().cpu > before.cpu,
    system.openFilesLimit() > 0,
    Notifier.fromEnvironment({ systemd: system.systemd }).watchdogInterval ===
      undefined,
  ];
  {
    using state = StateDirectory.take(system, path);
    const { pid, startTime } = self;
    state.write(daemonState({
      pid,
      startTime,
      monotonic: system.boottimeSeconds(),
    }));
    writeByHand(system, path, OVERRIDES, { name: "one", value: 8192 });
    facts.push(
      holderOf(system, path) === pid,
      readState(system, path).pid === pid,
      state.overrides().get("one") === 8192,
    );
  }
  facts.push(holderOf(system, path) === undefined);
  facts.push(await endsConnection(system));
  return [...facts, ...await signalFacts(system, self)];
}

/** Whether a connection of this process can be ended, on both kinds of addresses. */
async function endsConnection(system: OperatingSystem): Promise<boolean> {
  for (const hostname of ["127.0.0.1", "::1"]) {
    using listener = Deno.listen({ hostname, port: 0 });
    using client = await Deno.connect({ hostname, port: listener.addr.port });
    using server = await listener.accept();
    const { localAddr, remoteAddr } = server;
    const hasEnded = system.endConnection(localAddr, remoteAddr) &&
      !system.endConnection(localAddr, { ...remoteAddr, port: 1 }) &&
      await client.read(new Uint8Array(1)) === null;
    if (!hasEnded) return false;
  }
  return true;
}

/** Signals reach the process that is meant, and no other. */
async function signalFacts(
  system: OperatingSystem,
  self: ProcessEntry,
): Promise<boolean[]> {
  const facts: boolean[] = [];
  for (const name of ["SIGHUP", "SIGUSR1"] as const) {
    const { promise, resolve } = Promise.withResolvers<void>();
    Deno.addSignalListener(name, resolve);
    using held = system.hold(self);
    held.signal(name);
    await promise;
    Deno.removeSignalListener(name, resolve);
    facts.push(true);
  }
  const other = { ...self, startTime: self.startTime + 1 };
  const child = new Deno.Command("sleep", { args: ["60"] }).spawn();
  using platform = system.open("auto", () => {});
  const entry = platform.readProcess(child.pid);
  using held = system.hold(entry);
  facts.push(
    system.fateOf(self) === "runs",
    system.fateOf(other) === "ended",
    system.fateOf(entry) === "runs",
  );
  assertThrows(() => system.hold(other), NoSuchProcess);
  child.kill("SIGKILL");
  await child.status;
  assertThrows(() => held.signal("SIGHUP"), NoSuchProcess);
  assertThrows(() => system.hold(entry), NoSuchProcess);
  facts.push(system.fateOf(entry) === "ended");
  return facts;
}

const MODES: Record<string, (task: Task) => Promise<unknown>> = {
  /** An exception in the middle of a scan, at each place in turn. */
  async exceptions({ paths, pids: [pid], rounds }) {
    using platform = new IllumosPlatform(paths);
    controls(paths).set("delay=500");
    const entry = platform.readProcess(pid);
    const places = ["event", "sizes", "page-out"] as const;
    const counts: Record<string, number> = {};
    for (let round = 0; round < rounds; round++) {
      const place = places[round % places.length];
      const memory = platform.open(entry);
      const throwing = throwingIn(place, memory);
      const collection = new ScanCollection([new ScannedProcess(throwing)]);
      await assertRejects(
        () =>
          scan(collection, {
            excess: 64 * MIB,
            onEvent({ type }) {
              if (place === "event" && type === "pageout") {
                throw new Thrown(place);
              }
            },
          }),
        Thrown,
        place,
      );
      assertFree(pid, `after an exception in ${place}, round ${round}`);
      counts[place] = (counts[place] ?? 0) + 1;
    }
    return counts;
  },

  /** An uncaught exception while a process is controlled. */
  async crash({ paths, pids: [pid] }) {
    const platform = new IllumosPlatform(paths);
    const memory = platform.open(platform.readProcess(pid));
    await memory.control();
    setTimeout(() => {
      throw new Thrown("caught by nobody");
    }, 10);
    await new Promise((resolve) => setTimeout(resolve, 60_000));
  },

  /** An exit while a process is controlled. */
  async exit({ paths, pids: [pid] }) {
    const platform = new IllumosPlatform(paths);
    const memory = platform.open(platform.readProcess(pid));
    await memory.control();
    Deno.exit(7);
  },

  /** Many scans of many processes with few descriptors. */
  async crowd({ paths, pids, rounds }) {
    let most = 0;
    let before = 0;
    const result = { opened: 0, revoked: 0, capacity: 0, errors: 0, scans: 0 };
    {
      using platform = new IllumosPlatform(paths);
      before = openDescriptors() - platform.pool.size;
      const collections = Array.from(
        { length: COLLECTIONS },
        (_, index) =>
          collectionOf(
            platform,
            pids.filter((pid) => pid % COLLECTIONS === index),
          ),
      );
      result.capacity = platform.pool.capacity;
      for (let round = 0; round < rounds; round++) {
        await scan(collections[round % COLLECTIONS], {
          excess: MIB,
          onEvent(event) {
            if (event.type === "error") {
              result.errors++;
              throw event.error;
            }
          },
        });
        result.scans++;
        most = Math.max(most, platform.pool.size);
      }
      const all = collections.flatMap(({ processes }) => processes);
      assertEquals(all.length, pids.length);
      assert(all.every(({ unscannable }) => !unscannable));
      result.opened = platform.pool.opened;
      result.revoked = platform.pool.revoked;
    }
    return { ...result, most, leaked: openDescriptors() - before };
  },

  /** Psinfo of another process, once and repeatedly. */
  // deno-lint-ignore require-await -- every mode is asynchronous
  async stale({ paths, pids: [pid] }) {
    using platform = new IllumosPlatform(paths);
    const { set } = controls(paths);
    const memory = platform.open(platform.readProcess(pid));
    const { rss } = memory.readSizes();
    const { opened } = platform.pool;
    set("psinfo_stale=1");
    assertEquals(memory.readSizes().rss, rss);
    const reopened = platform.pool.opened - opened;
    set("psinfo_stale=-1");
    let message = "";
    try {
      memory.readSizes();
    } catch (error) {
      assert(error instanceof ProcessError);
      ({ message } = error);
    }
    return { reopened, message };
  },

  /**
   * A process that exits before the first call on it, the second, and so on, until
   * a scan completes before it exits.
   */
  async exits({ paths, pids }) {
    const system = illumos(paths);
    using platform = system.open("auto", () => {});
    const { set, calls } = controls(paths);
    const before = openDescriptors();
    const outcomes: Record<string, number> = {};
    const log = { warn() {}, info() {}, debug() {} };
    for (const [index, pid] of pids.entries()) {
      const at = index + 1;
      set(`exit_pid=${pid},exit_at=${at}`);
      let outcome = "none";
      try {
        const report = await scanOnce({
          policy: "clock",
          selectors: [{ kind: "pid", pid, text: `${pid}` }],
          goal: { excess: MIB },
          dryRun: false,
          observation: 0,
          signal: new AbortController().signal,
          log,
          platform,
        });
        outcome = report.processes[0].error === null ? "scanned" : "reported";
      } catch (error) {
        const isTold = error instanceof ProcessError ||
          error instanceof NoMatch;
        if (!isTold) throw error;
        outcome = error.name;
      }
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      if (calls() < at) {
        assertEquals(outcome, "scanned");
        platform[Symbol.dispose]();
        return { calls: at - 1, outcomes, leaked: openDescriptors() - before };
      }
    }
    throw new Error("more calls than processes");
  },

  /** The libraries that are loaded to do everything. */
  async libraries({ paths, pids: [pid] }) {
    const loaded = new Set<string>();
    const { dlopen } = Deno;
    Object.assign(Deno, {
      dlopen(...args: Parameters<typeof dlopen>) {
        loaded.add(String(args[0]));
        return dlopen(...args);
      },
    });
    const system = illumos(paths);
    using platform = system.open("auto", () => {});
    const entry = platform.readProcess(pid);
    const facts = [
      platform.listProcesses().length > 1,
      platform.userOf(entry) === 0,
      await platform.runsProgram(entry, (path) => path.startsWith("/")),
      platform.projectOf?.(entry) === 0,
      await system.uidOfUser("root") === 0,
      await system.uidOfUser("no such user") === undefined,
      system.zoneIdOf?.("global") === 0,
      system.memory().totalMemory > 0,
      system.projectCaps?.().changedCaps()?.problems.length === 0,
    ];
    const report = await scanOnce({
      policy: "clock",
      selectors: [{ kind: "pid", pid, text: `${pid}` }],
      goal: { excess: MIB },
      dryRun: false,
      observation: 0,
      signal: new AbortController().signal,
      log: { warn() {}, info() {}, debug() {} },
      platform,
    });
    await platform.open(entry).readMappings();
    facts.push(...await serviceFacts(system, platform.readProcess(Deno.pid)));
    const findings = await system.examine();
    return {
      loaded: [...loaded],
      facts,
      error: report.processes[0].error,
      findings: findings.map(({ status }) => status),
    };
  },
};

const [mode, task] = Deno.args;
say(JSON.stringify(await MODES[mode](JSON.parse(task))));
