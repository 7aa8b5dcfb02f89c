/**
 * Tests of the daemon's loop: it survives failures in any of its steps.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import "../../tests/support/deadline.ts";
import type { DaemonConfig } from "../config/config.ts";
import { RcapError } from "../errors.ts";
import type { DaemonState } from "../group/state.ts";
import { openPlatform, system } from "../platform/system_testing.ts";
import { systemClock } from "../platform/clock.ts";
import { Log } from "../platform/output.ts";
import type { Platform } from "../platform/platform.ts";
import { Daemon, type DaemonSurroundings } from "./daemon.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

const CONFIG: DaemonConfig = {
  sampleInterval: 20,
  processInterval: 20,
  reportInterval: 20,
  configInterval: 20,
  enforcementThreshold: 0,
  observationBudget: 0.01,
  policy: "clock",
  pagedata: "smaps",
  record: "",
  recordLimit: 2 ** 30,
  kubernetes: false,
  caps: [{ name: "none", select: [], maxRss: 2 ** 30, place: "test:1" }],
};

/** Fails a number of times, then succeeds. */
function failing(times: number, error: () => Error): () => void {
  return () => {
    if (times-- > 0) throw error();
  };
}

/** A platform with some methods replaced. */
function withSteps(real: Platform, steps: Partial<Platform>): Platform {
  return new Proxy(real, {
    get(_, key) {
      const from = key in steps ? steps : real;
      const value = Reflect.get(from, key, from);
      return typeof value === "function" ? value.bind(from) : value;
    },
  });
}

/** Runs a daemon with some steps replaced until it has reported often enough. */
async function runDaemon(
  { platform = {}, ...around }: {
    platform?: Partial<Platform>;
  } & Partial<Omit<DaemonSurroundings, "platform">>,
): Promise<{ states: DaemonState[]; messages: string[] }> {
  using real = openPlatform("smaps", () => {});
  const ending = new AbortController();
  const states: DaemonState[] = [];
  const messages: string[] = [];
  const log = new Log("info", { write: (line) => messages.push(line) });
  const { report, ...others } = around;
  const daemon = new Daemon(CONFIG, {
    // Its measurements may outlast the few turns of the daemon.
    platform: withSteps(real, { costs: undefined, ...platform }),
    clock: systemClock,
    system,
    log,
    signal: ending.signal,
    overrides: () => new Map(),
    pauses: () => new Map(),
    reload: () => Promise.resolve(undefined),
    report(state) {
      report?.(state);
      states.push(state);
      if (states.length === 10) ending.abort();
    },
    ...others,
  });
  const asking = setInterval(() => daemon.askForRequests(), 15);
  await daemon.run();
  clearInterval(asking);
  return { states, messages };
}

const SYSTEM = () => new RcapError("no descriptor is free");
const FAULT = () => new TypeError("not foreseen");

for (const [kind, error] of [["foreseen", SYSTEM], ["not", FAULT]] as const) {
  Deno.test(`a failing turn is logged, and the loop goes on (${kind})`, async () => {
    const steps: Record<string, Parameters<typeof runDaemon>[0]> = {
      report: { report: failing(3, error) },
      requests: {
        pauses: () => new Map(),
        overrides: () => {
          overrides();
          return new Map();
        },
      },
      sample: {
        platform: {
          memory() {
            memory();
            return {
              totalMemory: 2 ** 34,
              availableMemory: 2 ** 33,
              totalSwap: 0,
              freeSwap: 0,
            };
          },
        },
      },
      members: {
        platform: {
          listPids() {
            listPids();
            return [];
          },
        },
      },
      watchdog: { turnInterval: 20, onTurn: failing(3, error) },
    };
    const [overrides, memory, listPids] = [1, 2, 3].map(() =>
      failing(3, error)
    );
    for (const [name, step] of Object.entries(steps)) {
      const { states, messages } = await runDaemon(step);
      // The loop may turn once more before it ends.
      assert(states.length >= 10, `${name}: ${states.length} reports`);
      const logged = messages.filter((line) => line.includes(error().message));
      // Once a step; if a request succeeds in between, the error is logged again.
      assert(logged.length >= 1 && logged.length <= 3, `${name}: ${messages}`);
      assertEquals(
        logged[0].includes("internal error"),
        kind === "not",
        logged[0],
      );
    }
  });
}

Deno.test("an unreadable configuration is logged, and the running one stays in force", async () => {
  const { states, messages } = await runDaemon({
    reload: () => Promise.reject(SYSTEM()),
  });
  assertEquals(states.at(-1)?.configuration.serial, 1);
  assert(messages.some((line) => line.includes("no descriptor is free")));
});
