/**
 * Cgroups of tests.
 *
 * @module
 */

import { until } from "./workload.ts";

/** A mount of a hierarchy of cgroups: cgroups(7). */
export interface CgroupMount {
  readonly path: string;
  readonly version: 1 | 2;
  readonly options: readonly string[];
}

/** The hierarchies of cgroups that are mounted. */
export function cgroupMounts(): CgroupMount[] {
  return Deno.readTextFileSync("/proc/self/mounts").split("\n")
    .map((line) => line.split(" "))
    .filter(([, , type]) => type === "cgroup" || type === "cgroup2")
    .map(([, path, type, options]) => ({
      path,
      version: type === "cgroup2" ? 2 : 1,
      options: options.split(","),
    }));
}

/** A word that no other cgroup has in its name. */
export function uniqueWord(): string {
  return `rcap${crypto.randomUUID().slice(0, 8)}`;
}

/** A cgroup and its parents; removed on disposal after its processes have ended. */
export class Cgroup implements AsyncDisposable {
  readonly path: string;
  readonly #made: string[] = [];

  /**
   * Makes what of it is not there.
   *
   * @param path relative to `mount`.
   */
  constructor(mount: string, path: string) {
    this.path = mount;
    for (const part of path.split("/")) {
      this.path += `/${part}`;
      try {
        Deno.mkdirSync(this.path);
        this.#made.push(this.path);
      } catch (error) {
        if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      }
    }
  }

  put({ pid }: { pid: number }): void {
    Deno.writeTextFileSync(`${this.path}/cgroup.procs`, `${pid}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const path of this.#made.toReversed()) {
      // A process leaves its cgroup shortly after it has exited.
      await until(() => {
        try {
          Deno.removeSync(path);
          return true;
        } catch (error) {
          return error instanceof Deno.errors.NotFound;
        }
      }, `${path} to be removable`);
    }
  }
}
