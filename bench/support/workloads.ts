/**
 * The workloads of the contest: generators with fixed seeds and the records of
 * their operations.
 *
 * @module
 */

import { fetchPackages } from "../../tests/vm/debian.ts";
import { until } from "../../tests/support/workload.ts";

const FOLDER = new URL(".", import.meta.url).pathname;

/** 64-bit words of `struct record` of operations.h. */
const BUCKETS = 1024;
const IDLE_BANDS = 9;
const RECORD_WORDS = 2 + BUCKETS + IDLE_BANDS;

/** Parameters of the workloads, with sizes in bytes. */
export interface WorkloadSizes {
  /** Memory of the first three. */
  readonly size: number;
  /** Zipf exponent of `skewed` and `redis`. */
  readonly exponent: number;
  readonly redisKeys: number;
  readonly redisValue: number;
  readonly fleet: number;
  readonly fleetSize: number;
  /** How long each process of the fleet is awake, in milliseconds. */
  readonly awake: number;
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
  /** Additional time to settle and to be measured, in seconds. */
  readonly longer?: (
    sizes: WorkloadSizes,
  ) => { settle: number; measure: number };
}

const MIB = 2 ** 20;

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
    what: ({ size }) =>
      `the same, and the hot part moves by 10 % of ${
        size / MIB
      } MiB every 10 s`,
    cap: 0.6,
    // Two moves in every measurement.
    longer: () => ({ settle: 2, measure: 5 }),
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
    longer: ({ fleet, awake }) => ({
      settle: Math.max(0, fleet * awake / 2000 - 9),
      measure: Math.max(0, fleet * awake / 2000 - 15),
    }),
  },
];

/** Operations counted so far. */
export interface Operations {
  readonly count: number;
  /** Operations by duration: buckets of operations.h. */
  readonly buckets: Float64Array;
  /** Page faults by how long the page had not been used, if counted: bands of operations.h. */
  readonly refaults: Float64Array;
}

/** A running workload; disposing kills it. */
export class RunningWorkload implements AsyncDisposable {
  readonly #held = new AsyncDisposableStack();
  readonly #records: string;
  #main!: Deno.ChildProcess;

  /** @param records the file in which operations are recorded. */
  private constructor(records: string) {
    this.#records = records;
  }

  /**
   * Starts a workload and waits until its memory is filled.
   *
   * @param programs the folder of the compiled generators.
   * @param cgroup a cgroup.procs to join first.
   */
  static async start(
    { name }: WorkloadKind,
    sizes: WorkloadSizes,
    { programs, cgroup }: { programs: string; cgroup?: string },
  ): Promise<RunningWorkload> {
    const records = Deno.makeTempFileSync({ prefix: "rcap-bench-" });
    const workload = new RunningWorkload(records);
    await using held = new AsyncDisposableStack();
    held.use(workload);
    workload.#held.defer(() => Deno.remove(records));
    if (name === "redis") {
      await workload.#startRedis(sizes, { programs, cgroup });
    } else {
      const args: Record<string, (string | number)[]> = {
        hotcold: ["hotcold", sizes.size],
        drift: ["drift", sizes.size],
        skewed: ["zipf", sizes.size, sizes.exponent],
        fleet: ["fleet", sizes.fleetSize, sizes.fleet, sizes.awake],
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
    { redisKeys, redisValue, exponent }: WorkloadSizes,
    { programs, cgroup }: { programs: string; cgroup?: string },
  ): Promise<void> {
    const { command, env } = await redisServer();
    // Both on one processor, because their speed would otherwise depend on
    // placement.
    const pin = ["taskset", "-c", lastProcessor()];
    const socket = `${this.#records}.sock`;
    this.#main = this.#spawn(
      [...pin, command, "--save", "", "--appendonly", "no", "--port", "0"]
        .concat("--unixsocket", socket, "--loglevel", "warning"),
      { cgroup, env },
    );
    this.#held.defer(() => Deno.remove(socket).catch(() => {}));
    await until(() => exists(socket), "Redis to listen", 30_000);
    this.#spawn([
      ...pin,
      `${programs}/redis_driver`,
      this.#records,
      socket,
      `${redisKeys}`,
      `${redisValue}`,
      "20",
      `${exponent}`,
    ], {});
  }

  #spawn(
    command: string[],
    { cgroup, env }: { cgroup?: string; env?: Record<string, string> },
  ): Deno.ChildProcess {
    const [program, ...args] = cgroup === undefined ? command : [
      "sh",
      "-c",
      'echo $$ > "$0" && exec "$@"',
      cgroup,
      ...command,
    ];
    const child = new Deno.Command(program, {
      args,
      env,
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
    const words = this.#words();
    return Array.from(
      { length: processes },
      (_, i) => words[i * RECORD_WORDS + 1] === 1n,
    ).every(Boolean);
  }

  /** Reads the operations of all processes counted so far. */
  operations(): Operations {
    const words = this.#words();
    let count = 0;
    const buckets = new Float64Array(BUCKETS);
    const refaults = new Float64Array(IDLE_BANDS);
    for (let at = 0; at < words.length; at += RECORD_WORDS) {
      count += Number(words[at]);
      for (let i = 0; i < BUCKETS; i++) {
        buckets[i] += Number(words[at + 2 + i]);
      }
      for (let i = 0; i < IDLE_BANDS; i++) {
        refaults[i] += Number(words[at + 2 + BUCKETS + i]);
      }
    }
    return { count, buckets, refaults };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#held.disposeAsync();
  }
}

/**
 * Returns the time within which a share of operations ended, in microseconds.
 *
 * @param share from 0 to 1.
 */
export function quantile(buckets: Float64Array, share: number): number {
  const wanted = buckets.reduce((sum, n) => sum + n, 0) * share;
  let sum = 0;
  const index = buckets.findIndex((n) => (sum += n) >= wanted);
  const [exponent, part] = [Math.floor(index / 16), index % 16];
  return (part + 17) * 2 ** exponent / 1000;
}

/** The number of the last processor that may be used. */
export function lastProcessor(): string {
  const status = Deno.readTextFileSync("/proc/self/status");
  return /^Cpus_allowed_list:.*?(\d+)$/m.exec(status)![1];
}

/**
 * Compiles the generators into a new folder.
 *
 * @param held removes the folder when it is disposed of.
 * @returns the folder.
 */
export async function compileGenerators(
  held: AsyncDisposableStack,
): Promise<string> {
  const folder = Deno.makeTempDirSync({ prefix: "rcap-bench-" });
  held.defer(() => Deno.remove(folder, { recursive: true }));
  for (const name of ["memory_workload", "redis_driver", "touch_workload"]) {
    const args = ["-O2", "-o", `${folder}/${name}`, `${FOLDER}${name}.c`];
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

/** Finds the redis-server of the machine, or Debian's, unpacked into a cache. */
async function redisServer(): Promise<
  { command: string; env?: Record<string, string> }
> {
  for (const folder of (Deno.env.get("PATH") ?? "").split(":")) {
    if (exists(`${folder}/redis-server`)) return { command: "redis-server" };
  }
  const tree = await fetchPackages({
    release: "bookworm",
    name: "redis",
    packages: ["redis-server"],
    only:
      /^(redis-tools|redis-server|lib(jemalloc2|lua5\.1-0|lzf1|hiredis.*|atomic1|systemd0|ssl3|lzma5|zstd1|lz4-1|gcrypt20|gpg-error0|cap2)|lua-(bitop|cjson))$/,
  });
  const libraries = `${tree}/usr/lib/x86_64-linux-gnu`;
  return {
    command: `${tree}/usr/bin/redis-server`,
    env: { LD_LIBRARY_PATH: `${libraries}:${tree}/lib/x86_64-linux-gnu` },
  };
}

/** Whether a path exists. */
export function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
