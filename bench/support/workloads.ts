/**
 * The workloads of the contest: generators with fixed seeds and the records of
 * their operations.
 *
 * @module
 */

import { until } from "../../tests/support/workload.ts";
import { inCgroup } from "./applications.ts";
import { Pgbench } from "./pgbench.ts";
import { exists, isOnPath, postgresFolder, redisServer } from "./programs.ts";
import { BUCKETS, IDLE_BANDS, type Operations } from "./operations.ts";

const FOLDER = new URL(".", import.meta.url).pathname;

/** 64-bit words of `struct record` of operations.h. */
export const RECORD_WORDS = 3 + BUCKETS + IDLE_BANDS;

/** Parameters of the workloads, with sizes in bytes. */
export interface WorkloadSizes {
  /** Memory of most of them. */
  readonly size: number;
  /** Zipf exponent of `skewed` and `redis`. */
  readonly exponent: number;
  readonly redisKeys: number;
  readonly redisValue: number;
  readonly fleet: number;
  readonly fleetSize: number;
  /** How long each process of the fleet is awake, in milliseconds. */
  readonly awake: number;
  /** How often the hot part of `drift` moves, in milliseconds; 10,000 by default. */
  readonly move?: number;
  /** By which factor the minutes of `backup`, `jvm` and `bgsave` are shorter; 6 by default. */
  readonly hurry?: number;
  /** The most operations a second, of each process; as many as possible by default. */
  readonly rate?: number;
  /** Whether page faults are counted by how long the page had not been used. */
  readonly refaults?: boolean;
}

/** A kind of workload. */
export interface WorkloadKind {
  readonly name: string;
  /** Describes it for the report. */
  readonly what: (sizes: WorkloadSizes) => string;
  /** The cap, as a share of the resident size without a cap. */
  readonly cap: number;
  /** The least time to settle and to be measured, in seconds. */
  readonly atLeast?: (
    sizes: WorkloadSizes,
  ) => { settle: number; measure: number };
  /**
   * How many jobs are measured, from the end of one to that of another: they cause most
   * of the page faults, and a slow contestant does fewer of them in the same time.
   */
  readonly jobs?: { readonly what: string; readonly count: number };
  /** Whether processes come and go, and share memory that was written before. */
  readonly hasChildren?: boolean;
  /** Why it cannot run on this machine; `undefined` if it can. */
  readonly problem?: () => string | undefined;
}

const MIB = 2 ** 20;

const HURRY = 6;

/** How often the hot part of `drift` moves, in milliseconds. */
const MOVE = 10_000;

const shorter = (hurry = HURRY) => `times ${hurry} times shorter`;

/** The length of a minute, in milliseconds. */
const minuteOf = ({ hurry = HURRY }: WorkloadSizes) =>
  Math.round(60_000 / hurry);

export const WORKLOADS: readonly WorkloadKind[] = [
  {
    name: "hotcold",
    what: ({ size }) =>
      `40 % of ${
        size / MIB
      } MiB hot, the rest touched once in 10,000 operations`,
    cap: 0.6,
  },
  {
    name: "drift",
    what: ({ size, move = MOVE }) =>
      `the same, and the hot part moves by 10 % of ${size / MIB} MiB every ${
        move / 1000
      } s`,
    cap: 0.6,
    // Two moves in every measurement.
    atLeast: ({ move = MOVE }) => ({
      settle: 0.9 * move / 1000,
      measure: 2 * move / 1000,
    }),
  },
  {
    name: "skewed",
    what: ({ size, exponent }) =>
      `Zipf (exponent ${exponent}) over ${size / MIB} MiB`,
    cap: 0.8,
  },
  {
    name: "redis",
    what: ({ redisKeys, redisValue, exponent }) =>
      `redis-server, ${redisKeys} keys of ${redisValue} bytes, the newest 20 % read by Zipf (exponent ${exponent})`,
    cap: 0.6,
  },
  {
    name: "fleet",
    what: ({ fleet, fleetSize, awake }) =>
      `${fleet} processes of ${
        fleetSize / MIB
      } MiB, each in turn awake for ${awake} ms`,
    cap: 0.5,
    // More than half a round, so that a process that wakes up has been paged out.
    atLeast: ({ fleet, awake }) => ({
      settle: fleet * awake / 2000 + 1,
      measure: fleet * awake / 2000,
    }),
  },
  {
    name: "backup",
    what: ({ size, hurry }) =>
      `20 % of ${
        size / MIB
      } MiB hot, 30 % used once a minute, and a backup that reads all every 5 minutes; ${
        shorter(hurry)
      }`,
    cap: 0.6,
    jobs: { what: "backup", count: 1 },
  },
  {
    name: "jvm",
    what: ({ size, hurry }) =>
      `a JVM with G1, ${
        size / MIB / 2
      } MiB of objects, a tenth of them in use, all collected every minute; ${
        shorter(hurry)
      }`,
    cap: 0.6,
    jobs: { what: "collection", count: 2 },
    problem: () =>
      isOnPath("java") ? undefined : "java is not installed (default-jdk)",
  },
  {
    name: "bgsave",
    what: ({ redisKeys, redisValue, hurry }) =>
      `redis-server, ${
        redisKeys / 2
      } keys of ${redisValue} bytes, the newest 20 % read and written, and BGSAVE every minute; ${
        shorter(hurry)
      }`,
    cap: 0.5,
    jobs: { what: "save", count: 2 },
    hasChildren: true,
  },
  {
    name: "pgbench",
    what: () =>
      "PostgreSQL, 8 sessions that read temporary tables of 50 MiB in their own memory, rows by Zipf (exponent 1.05)",
    cap: 0.6,
    hasChildren: true,
    problem: () =>
      postgresFolder()
        ? undefined
        : "PostgreSQL 14 or later is not installed (postgresql, postgresql-contrib)",
  },
];

/** A running workload; disposing kills it. */
export class RunningWorkload implements AsyncDisposable {
  readonly #held = new AsyncDisposableStack();
  readonly #records: string;
  readonly #kind: WorkloadKind;
  readonly #rate: Record<string, string>;
  #main!: Deno.ChildProcess;
  #pgbench: Pgbench | undefined;

  /** @param records the file in which operations are recorded. */
  private constructor(kind: WorkloadKind, records: string, rate?: number) {
    this.#rate = rate === undefined ? {} : { RCAP_BENCH_RATE: `${rate}` };
    this.#kind = kind;
    this.#records = records;
  }

  /**
   * Starts a workload and waits until its memory is filled.
   *
   * @param programs the folder of the compiled generators.
   * @param cgroup a cgroup.procs to join first.
   */
  static async start(
    kind: WorkloadKind,
    sizes: WorkloadSizes,
    { programs, cgroup }: { programs: string; cgroup?: string },
  ): Promise<RunningWorkload> {
    const { name } = kind;
    const records = Deno.makeTempFileSync({ prefix: "rcap-bench-" });
    const workload = new RunningWorkload(kind, records, sizes.rate);
    await using held = new AsyncDisposableStack();
    held.use(workload);
    workload.#held.defer(() => Deno.remove(records));
    if (name === "redis" || name === "bgsave") {
      await workload.#startRedis(sizes, { programs, cgroup });
    } else if (name === "pgbench") {
      workload.#pgbench = workload.#held.use(await Pgbench.start(cgroup));
      workload.#main = workload.#pgbench.server;
    } else if (name === "jvm") {
      // Two thirds of it are kept.
      const heap = sizes.size / MIB * 3 / 4;
      workload.#main = workload.#spawn(
        ["java", "-XX:+UseG1GC", "-XX:+AlwaysPreTouch", `-Xms${heap}m`].concat(
          [
            `-Xmx${heap}m`,
            `${FOLDER}Churn.java`,
            records,
            `${sizes.size / MIB / 2}`,
          ],
          [`${minuteOf(sizes)}`],
        ),
        { cgroup },
      );
    } else {
      const args: Record<string, (string | number)[]> = {
        hotcold: ["hotcold", sizes.size],
        drift: ["drift", sizes.size, sizes.move ?? MOVE],
        skewed: ["zipf", sizes.size, sizes.exponent],
        fleet: ["fleet", sizes.fleetSize, sizes.fleet, sizes.awake],
        backup: ["backup", sizes.size, minuteOf(sizes)],
      };
      workload.#main = workload.#spawn(
        [`${programs}/memory_workload`].concat(
          sizes.refaults ? "-r" : [],
          records,
          args[name].map(String),
        ),
        { cgroup },
      );
    }
    const processes = name === "fleet" ? sizes.fleet : 1;
    await until(
      () => workload.#isReady(processes),
      `${name} to fill its memory`,
      300_000,
    );
    held.move();
    return workload;
  }

  async #startRedis(
    sizes: WorkloadSizes,
    { programs, cgroup }: { programs: string; cgroup?: string },
  ): Promise<void> {
    const { redisKeys, redisValue, exponent } = sizes;
    const { command, env } = await redisServer();
    const saves = this.#kind.name === "bgsave";
    // Both on one processor, because their speed would otherwise depend on
    // placement. A save needs another one.
    const pin = saves ? [] : ["taskset", "-c", lastProcessor()];
    const folder = await Deno.makeTempDir({
      dir: "/var/tmp",
      prefix: "rcap-redis-",
    });
    this.#held.defer(() => Deno.remove(folder, { recursive: true }));
    const socket = `${folder}/socket`;
    this.#main = this.#spawn(
      [...pin, command, "--save", "", "--appendonly", "no", "--port", "0"]
        .concat("--unixsocket", socket, "--dir", folder)
        .concat("--loglevel", "warning"),
      { cgroup, env },
    );
    // Otherwise a save would go on.
    this.#held.defer(() => {
      for (const pid of this.pids().slice(1)) Deno.kill(pid, "SIGKILL");
    });
    await until(() => exists(socket), "Redis to listen", 30_000);
    this.#spawn(
      [...pin, `${programs}/redis_driver`, this.#records, socket].concat(
        [`${saves ? redisKeys / 2 : redisKeys}`, `${redisValue}`, "20"],
        [`${exponent}`, ...saves ? [`${minuteOf(sizes)}`] : []],
      ),
      {},
    );
  }

  #spawn(
    command: string[],
    { cgroup, env }: { cgroup?: string; env?: Record<string, string> },
  ): Deno.ChildProcess {
    const [program, ...args] = inCgroup(command, cgroup);
    const child = new Deno.Command(program, {
      args,
      env: { ...env, ...this.#rate },
      stdin: "null",
      stdout: "null",
    }).spawn();
    this.#held.defer(async () => {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has already ended.
      }
      await child.status;
    });
    return child;
  }

  /** The process to cap, with all its descendants. */
  get pid(): number {
    return this.#main.pid;
  }

  /** The processes whose memory counts. */
  pids(): number[] {
    const children = Deno.readTextFileSync(
      `/proc/${this.pid}/task/${this.pid}/children`,
    );
    return [this.pid, ...children.split(" ").filter(Boolean).map(Number)];
  }

  #words(): BigUint64Array {
    const bytes = Deno.readFileSync(this.#records);
    return new BigUint64Array(bytes.buffer, 0, bytes.length >> 3);
  }

  #isReady(processes: number): boolean {
    if (this.#pgbench) return this.#pgbench.isReady();
    const words = this.#words();
    return Array.from(
      { length: processes },
      (_, i) => words[i * RECORD_WORDS + 1] === 1n,
    ).every(Boolean);
  }

  /** Reads the operations of all processes counted so far. */
  operations(): Operations {
    if (this.#pgbench) return this.#pgbench.operations();
    const words = this.#words();
    let [count, jobs] = [0, 0];
    const buckets = new Float64Array(BUCKETS);
    const refaults = new Float64Array(IDLE_BANDS);
    for (let at = 0; at < words.length; at += RECORD_WORDS) {
      count += Number(words[at]);
      jobs += Number(words[at + RECORD_WORDS - 1]);
      for (let i = 0; i < BUCKETS; i++) {
        buckets[i] += Number(words[at + 2 + i]);
      }
      for (let i = 0; i < IDLE_BANDS; i++) {
        refaults[i] += Number(words[at + 2 + BUCKETS + i]);
      }
    }
    return { count, buckets, refaults, jobs };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#held.disposeAsync();
  }
}

/** The number of the last processor that may be used. */
export function lastProcessor(): string {
  const status = Deno.readTextFileSync("/proc/self/status");
  return /^Cpus_allowed_list:.*?(\d+)$/m.exec(status)![1];
}

/** The programs that make up workloads, by the names of their sources. */
const GENERATORS = [
  "memory_workload",
  "redis_driver",
  "memcached_driver",
  "touch_workload",
];

/**
 * Compiles the generators into a new folder.
 *
 * @param held removes the folder when it is disposed of.
 * @param options of the compiler.
 * @returns the folder.
 */
export async function compileGenerators(
  held: AsyncDisposableStack,
  options: readonly string[] = [],
): Promise<string> {
  const folder = Deno.makeTempDirSync({ prefix: "rcap-bench-" });
  held.defer(() => Deno.remove(folder, { recursive: true }));
  for (const name of GENERATORS) {
    const args = ["-O2", ...options, "-o", `${folder}/${name}`]
      .concat(`${FOLDER}${name}.c`);
    const { success, stderr } = await new Deno.Command("gcc", {
      args: [...args, "-lm"],
    }).output();
    if (success) continue;
    throw new Error(
      `gcc cannot compile ${name}.c: ${new TextDecoder().decode(stderr)}`,
    );
  }
  return folder;
}
