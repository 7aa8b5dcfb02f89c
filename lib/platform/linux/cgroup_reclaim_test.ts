import { assertEquals } from "@std/assert";
import { cgroupMounts } from "./cgroup_mounts.ts";
import { findCgroup } from "./cgroup_reclaim.ts";
import { parseCgroups } from "./cgroups.ts";

/** Nothing is mounted there, so that no test depends on the machine. */
const DIRECTORY = "/sys/fs/cgroup/there-is-none";

function mountOf(type: string, directory: string, options: string): string {
  return `36 35 0:28 / ${directory} rw,relatime - ${type} cgroup ${options}\n`;
}

const VERSION_2 = mountOf("cgroup2", DIRECTORY, "rw,nsdelegate");

/** Why nothing can be reclaimed of processes, given their `/proc/<pid>/cgroup`. */
function why(
  mountinfo: string,
  cgroups: string[],
  matches = (path: string) => path === "/db" || path.startsWith("/db/"),
) {
  return findCgroup(
    cgroups.map(parseCgroups),
    matches,
    cgroupMounts(mountinfo),
  );
}

Deno.test("why a cgroup cannot be reclaimed is found out before anything is opened", () => {
  const noVersion2 = "cgroup version 2 is not mounted in /sys/fs/cgroup";
  const version1 =
    "the memory controller belongs to cgroup version 1 on this machine";
  assertEquals(why("", ["0::/db\n"]), noVersion2);
  assertEquals(
    why(mountOf("cgroup2", "/tmp/cgroup", "rw"), ["0::/db\n"]),
    noVersion2,
  );
  assertEquals(
    why(
      VERSION_2 + mountOf("cgroup", "/sys/fs/cgroup/memory", "rw,cpu,memory"),
      ["0::/db\n"],
    ),
    version1,
  );
  const controllers = VERSION_2 +
    mountOf("cgroup", "/sys/fs/cgroup/pids", "rw,pids");
  assertEquals(
    why(controllers, ["2:pids:/db\n0::/\n"]),
    "it selects cgroups of version 1",
  );
  assertEquals(
    why(
      VERSION_2,
      ["0::/db/a\n", "0::/db/b\n"],
      (path) => /\/db\/./.test(path),
    ),
    "it selects 2 cgroups, for example /db/a and /db/b",
  );
  assertEquals(
    why(VERSION_2, ["0::/db\n"], () => true),
    "it selects the root cgroup, which has the processes of the whole machine",
  );
  assertEquals(
    why(VERSION_2, ["0::/../db\n"], (path) => path.endsWith("/db")),
    `cgroup /../db is outside of what ${DIRECTORY} shows`,
  );
});
