/**
 * The contestants that keep a workload under its cap: rcap with either policy, a
 * memory cgroup, and paging out everything.
 *
 * @module
 */

import { POLICIES } from "../../lib/config/policy_names.ts";
import { TestDaemon } from "../../tests/support/daemon.ts";
import { until } from "../../tests/support/workload.ts";
import { exists } from "./programs.ts";
import type { RunningWorkload } from "./workloads.ts";

/** A running enforcer; disposing ends it. */
export interface Enforcer extends AsyncDisposable {
  /** The pid of its process; `undefined` if it has none. */
  readonly pid: number | undefined;
}

/** A way to enforce a cap. */
export interface Contestant {
  readonly name: string;
  /** Whether the workload must start in a cgroup. */
  readonly needsCgroup: boolean;
  /** Whether it has a limit that can be adjusted. */
  readonly hasLimit: boolean;
  /**
   * Starts an enforcer.
   *
   * @param limit in bytes.
   * @param interval time between two enforcements, in seconds.
   */
  start(
    workload: RunningWorkload,
    options: { limit: number; interval: number; cgroup?: Cgroup },
  ): Promise<Enforcer>;
}

const NOTHING: Enforcer = {
  pid: undefined,
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

/** All contestants. The first is the baseline of the others. */
export const CONTESTANTS: readonly Contestant[] = [
  {
    name: "uncapped",
    needsCgroup: false,
    hasLimit: false,
    start: () => Promise.resolve(NOTHING),
  },
  ...POLICIES.toReversed().map((policy): Contestant => ({
    name: policy,
    needsCgroup: false,
    hasLimit: true,
    async start({ pid }, { limit, interval }) {
      return await TestDaemon.start({
        config: `[daemon]
sample_interval = "${interval}s"
report_interval = "1s"
policy = "${policy}"

[[cap]]
name = "bench"
select = ["tree:${pid}"]
max_rss = "${Math.round(limit)}"
`,
      });
    },
  })),
  {
    name: "cgroup",
    needsCgroup: true,
    hasLimit: true,
    async start(_, { limit, cgroup }) {
      await cgroup!.limit(limit);
      return NOTHING;
    },
  },
  {
    name: "naive",
    needsCgroup: false,
    hasLimit: false,
    start({ pid }, { interval }) {
      const script = new URL("naive.ts", import.meta.url).pathname;
      const child = new Deno.Command(Deno.execPath(), {
        args: ["run", "--allow-all", script, `${pid}`, `${interval}`],
        stdin: "null",
      }).spawn();
      return Promise.resolve({
        pid: child.pid,
        async [Symbol.asyncDispose]() {
          child.kill("SIGKILL");
          await child.status;
        },
      });
    },
  },
];

const VERSION_1 = "/sys/fs/cgroup/memory";
const VERSION_2 = "/sys/fs/cgroup";

/** A memory cgroup that the benchmark makes; disposing removes it. */
export class Cgroup implements AsyncDisposable {
  readonly #folder: string;
  readonly #limitFile: string;

  private constructor(folder: string, limitFile: string) {
    this.#folder = folder;
    this.#limitFile = limitFile;
  }

  /** Makes a cgroup, of version 1 if that has the memory controller. */
  static create(): Cgroup {
    const isFirst = exists(`${VERSION_1}/memory.limit_in_bytes`);
    const parent = isFirst ? VERSION_1 : VERSION_2;
    const controllers = isFirst
      ? "memory"
      : Deno.readTextFileSync(`${parent}/cgroup.controllers`);
    if (!/\bmemory\b/.test(controllers)) {
      throw new Error(
        "there is no memory cgroup: mount the memory controller of version 1 or 2, or omit the contestant cgroup",
      );
    }
    if (!isFirst) {
      Deno.writeTextFileSync(`${parent}/cgroup.subtree_control`, "+memory");
    }
    const folder = `${parent}/rcap-bench-${Deno.pid}`;
    Deno.mkdirSync(folder);
    return new Cgroup(
      folder,
      isFirst ? "memory.limit_in_bytes" : "memory.high",
    );
  }

  /** The name of the limit, for the report. */
  static get kind(): string {
    return exists(`${VERSION_1}/memory.limit_in_bytes`)
      ? "memory.limit_in_bytes (version 1)"
      : "memory.high (version 2)";
  }

  get procs(): string {
    return `${this.#folder}/cgroup.procs`;
  }

  /** Sets the limit. Writing it reclaims memory, and may have to be repeated. */
  async limit(bytes: number): Promise<void> {
    const file = `${this.#folder}/${this.#limitFile}`;
    for (let attempt = 0; attempt < 100; attempt++) {
      // Written by another process, so that sampling continues here.
      const { success } = await new Deno.Command("sh", {
        args: ["-c", 'echo "$1" > "$0"', file, `${Math.round(bytes)}`],
        stderr: "null",
      }).output();
      if (success) return;
    }
    throw new Error(`${file} does not take ${bytes}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await until(() => {
      try {
        Deno.removeSync(this.#folder);
        return true;
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return true;
        return false;
      }
    }, "the cgroup to be empty");
  }
}
