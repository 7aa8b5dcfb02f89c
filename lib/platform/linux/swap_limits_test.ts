/**
 * Tests of the limits of cgroups on swap, with directories that look like cgroups.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { libc } from "../../../ffi/libc.ts";
import { cgroupMounts } from "./cgroup_mounts.ts";
import { parseCgroups } from "./cgroups.ts";
import {
  describeSwapLimit,
  type SwapLimit,
  SwapLimits,
} from "./swap_limits.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

const MIB = 2 ** 20;

/** A directory that looks like a hierarchy of version 2, mounted with this root. */
class Hierarchy implements Disposable {
  readonly directory = Deno.makeTempDirSync({ prefix: "rcap-cgroups-" });
  readonly limits: SwapLimits;
  #reads = 0;

  constructor(root = "/") {
    this.limits = new SwapLimits(() => {
      this.#reads++;
      return cgroupMounts(
        `30 22 0:26 ${root} ${this.directory} rw shared:9 - cgroup2 cgroup2 rw\n`,
      );
    });
  }

  /** How often the mounts were read. */
  get reads(): number {
    return this.#reads;
  }

  /** Makes a cgroup, or changes its files. */
  set(path: string, max: string, current = 0): void {
    const directory = `${this.directory}/${path}`;
    Deno.mkdirSync(directory, { recursive: true });
    Deno.writeTextFileSync(`${directory}/memory.swap.max`, `${max}\n`);
    Deno.writeTextFileSync(`${directory}/memory.swap.current`, `${current}\n`);
  }

  reachedBy(path: string): SwapLimit | undefined {
    return this.limits.reachedBy(parseCgroups(`4:memory:/x\n0::${path}\n`));
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.directory, { recursive: true });
  }
}

Deno.test("a cgroup whose limit is 0, or used up, keeps its processes from swapping", () => {
  using hierarchy = new Hierarchy();
  hierarchy.set("free", "max", 5 * MIB);
  hierarchy.set("never", "0");
  hierarchy.set("full", `${8 * MIB}`, 8 * MIB);
  hierarchy.set("over", `${8 * MIB}`, 9 * MIB);
  hierarchy.set("almost", `${8 * MIB}`, 8 * MIB - 4096);
  assertEquals(hierarchy.reachedBy("/free"), undefined);
  assertEquals(hierarchy.reachedBy("/never"), { cgroup: "/never", max: 0 });
  const max = 8 * MIB;
  assertEquals(hierarchy.reachedBy("/full"), { cgroup: "/full", max });
  assertEquals(hierarchy.reachedBy("/over"), { cgroup: "/over", max });
  assertEquals(hierarchy.reachedBy("/almost"), undefined);
  // How much is used is read each time.
  hierarchy.set("almost", `${8 * MIB}`, 8 * MIB);
  assertEquals(hierarchy.reachedBy("/almost"), { cgroup: "/almost", max });
  assertEquals(hierarchy.reads, 1);
});

Deno.test("all cgroups above count, up to the root that is visible", () => {
  using hierarchy = new Hierarchy();
  hierarchy.set("a", "0");
  hierarchy.set("a/b/c", "max");
  assertEquals(hierarchy.reachedBy("/a/b/c"), { cgroup: "/a", max: 0 });
  assertEquals(hierarchy.reachedBy("/ab/c"), undefined);
  assertEquals(hierarchy.reachedBy("/"), undefined);

  // Only what is below /a is mounted: as in a container.
  using part = new Hierarchy("/a");
  part.set("b", "max");
  part.set("", "0");
  assertEquals(part.reachedBy("/a/b"), { cgroup: "/a", max: 0 });
  assertEquals(part.reachedBy("/a"), { cgroup: "/a", max: 0 });
  assertEquals(part.reachedBy("/other"), undefined);

  // In a cgroup namespace, its root is called /, and may have a limit.
  using own = new Hierarchy();
  own.set("", "0");
  assertEquals(own.reachedBy("/b"), { cgroup: "/", max: 0 });
  assertEquals(own.reachedBy("/../b"), undefined);
});

Deno.test("hostile paths lead nowhere else, and say nothing", () => {
  using hierarchy = new Hierarchy();
  using outside = new Hierarchy();
  outside.set("x", "0");
  const name = outside.directory.split("/").at(-1);
  Deno.symlinkSync(`${outside.directory}/x`, `${hierarchy.directory}/link`);
  hierarchy.set("odd", "-1");
  hierarchy.set("text", "0 or so");
  for (
    const path of [
      `/a/../../${name}/x`,
      "/link",
      "/odd",
      "/text",
      "/gone (deleted)",
      `/${"long/".repeat(1000)}`,
      `/${"x".repeat(5000)}`,
      "",
    ]
  ) {
    assertEquals(hierarchy.reachedBy(path), undefined, path.slice(0, 80));
  }
});

Deno.test("where version 2 is not mounted, nothing is limited", () => {
  const limits = new SwapLimits(() =>
    cgroupMounts(
      "31 22 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
    )
  );
  const places = parseCgroups("4:memory:/x\n0::/y\n");
  assertEquals(limits.reachedBy(places), undefined);
  assertEquals(limits.reachedBy(parseCgroups("4:memory:/x\n")), undefined);
});

Deno.test("a limit in words names the cgroup, of which a long path is cut", () => {
  assertEquals(
    describeSwapLimit({ cgroup: "/a", max: 0 }),
    "cgroup /a may not swap (memory.swap.max is 0)",
  );
  assertEquals(
    describeSwapLimit({ cgroup: "/a", max: 50 * MIB }),
    "cgroup /a may not swap more (memory.swap.max is 50.0M)",
  );
  const { length } = describeSwapLimit({ cgroup: "/a".repeat(999), max: 0 });
  assertEquals(length < 200, true);
});
