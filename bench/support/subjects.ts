/**
 * The processes of `bench:watch`: they use all of their memory as fast as they can.
 *
 * @module
 */

import { until } from "../../tests/support/workload.ts";
import { exists } from "./programs.ts";
import {
  lastProcessor,
  RunningWorkload,
  WORKLOADS,
  type WorkloadSizes,
} from "./workloads.ts";

/** A process under test; disposing kills it. */
export interface Subject extends AsyncDisposable {
  readonly pid: number;
  /** How many operations it has done so far. */
  operations(): number;
  /** Resolves when no reference bit that was reset before delays it any more. */
  recover(): Promise<void>;
}

/** How to start a subject. */
export interface SubjectKind {
  readonly name: string;
  /** Its memory in bytes, roughly. */
  readonly size: number;
  /** Why it cannot be started on this machine; `undefined` if it can. */
  problem?(): string | undefined;
  /** @param programs the folder of the compiled generators. */
  start(programs: string): Promise<Subject>;
}

const MIB = 2 ** 20;
/** How long Redis gets to use its keys again, in milliseconds. */
const RECOVERY_MS = 500;
/** The share of huge pages from which memory counts as such. */
const MOSTLY = 0.95;

/** 2 MiB pages are not given to a process that asks for them. */
export class NoHugePages extends Error {
  override readonly name = "NoHugePages";
}

/** The subjects of a full run, and of a quick one. */
export function subjects({ isQuick }: { isQuick: boolean }): SubjectKind[] {
  const sizes = isQuick ? [64] : [64, 1024, 4096];
  return [
    ...sizes.flatMap((size) => [
      touching({ how: "touch", size: size * MIB, pages: "small" }),
      touching({ how: "touch", size: size * MIB, pages: "huge" }),
    ]),
    touching({
      how: "chase",
      size: (isQuick ? 64 : 1024) * MIB,
      pages: "small",
    }),
    redis(isQuick ? 20_000 : 1_000_000),
  ];
}

interface Touching {
  readonly how: "touch" | "chase";
  /** In bytes. */
  readonly size: number;
  readonly pages: "small" | "huge";
}

/** A subject that is `touch_workload.c`. */
function touching({ how, size, pages }: Touching): SubjectKind {
  return {
    name: `${how}-${size / MIB}M-${pages === "huge" ? "2M" : "4K"}`,
    size,
    async start(programs) {
      await using held = new AsyncDisposableStack();
      const records = Deno.makeTempFileSync({ prefix: "rcap-bench-" });
      held.defer(() => Deno.remove(records));
      // On one processor, because the speed would otherwise depend on placement.
      const child = new Deno.Command("taskset", {
        args: ["-c", lastProcessor(), `${programs}/touch_workload`, records]
          .concat(how, `${size}`, pages),
        stdin: "null",
      }).spawn();
      held.defer(async () => {
        child.kill("SIGKILL");
        await child.status;
      });
      const words = () => {
        const bytes = Deno.readFileSync(records);
        return new BigUint64Array(bytes.buffer, 0, bytes.length >> 3);
      };
      const turns = () => Number(words().at(1) ?? 0);
      await until(() => turns() > 0, `${how} to fill its memory`, 300_000);
      checkPages(child.pid, { size, pages });
      const moved = held.move();
      return {
        pid: child.pid,
        operations: () => Number(words()[0]),
        async recover() {
          const before = turns();
          child.kill("SIGUSR1");
          await until(() => turns() > before, `${how} to use all its memory`);
        },
        [Symbol.asyncDispose]: () => moved.disposeAsync(),
      };
    },
  };
}

/**
 * Checks that memory is in pages of the wanted size, by `AnonHugePages` of
 * proc_pid_smaps(5).
 *
 * @throws NoHugePages if huge pages are wanted and not there.
 */
function checkPages(
  pid: number,
  { size, pages }: { size: number; pages: Touching["pages"] },
): void {
  const figures = Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`);
  const huge = Number(/^AnonHugePages:\s*(\d+)/m.exec(figures)?.[1]) * 1024;
  if (pages === "huge" && huge < size * MOSTLY) {
    throw new NoHugePages(
      `only ${Math.round(huge / MIB)} of ${size / MIB} MiB are in huge pages`,
    );
  }
  if (pages === "small" && huge > size * (1 - MOSTLY)) {
    throw new Error(
      `${Math.round(huge / MIB)} of ${size / MIB} MiB are in huge pages`,
    );
  }
}

/** A Redis server whose newest keys are read. */
function redis(keys: number): SubjectKind {
  const kind = WORKLOADS.find(({ name }) => name === "redis")!;
  const sizes: WorkloadSizes = {
    size: 0,
    exponent: 0.99,
    redisKeys: keys,
    redisValue: 512,
    fleet: 0,
    fleetSize: 0,
    awake: 0,
  };
  return {
    name: "redis",
    size: keys * (sizes.redisValue + 128),
    problem: () =>
      (Deno.env.get("PATH") ?? "").split(":").some((folder) =>
          exists(`${folder}/redis-server`)
        )
        ? undefined
        : "redis-server is not installed",
    async start(programs) {
      const workload = await RunningWorkload.start(kind, sizes, { programs });
      return {
        pid: workload.pid,
        operations: () => workload.operations().count,
        recover: () =>
          new Promise((resolve) => setTimeout(resolve, RECOVERY_MS)),
        [Symbol.asyncDispose]: () => workload[Symbol.asyncDispose](),
      };
    },
  };
}
