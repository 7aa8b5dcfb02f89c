import { assertEquals } from "@std/assert";
import { cgroupMounts } from "./cgroup_mounts.ts";
import { seenByMachine, setOwnCgroup } from "./cgroup_namespace.ts";
import { isOutside, parseCgroups, systemdPath } from "./cgroups.ts";
import { type Mount, mountOf, parseMountinfo } from "./mountinfo.ts";

const pathIn = (text: string) => systemdPath(parseCgroups(text));

Deno.test("systemd's cgroup is found in its own hierarchy, or in version 2", () => {
  assertEquals(
    pathIn("0::/system.slice/a.service\n"),
    "/system.slice/a.service",
  );
  assertEquals(
    pathIn("3:cpu,cpuacct:/b.service\n1:name=systemd:/a.service\n0::/\n"),
    "/a.service",
  );
  // Here systemd uses both.
  assertEquals(
    pathIn("1:name=systemd:/a.service\n0::/a.service\n"),
    "/a.service",
  );
  // Here systemd does not use version 1.
  assertEquals(pathIn("1:name=systemd:/\n0::/a.service\n"), "/a.service");
  assertEquals(pathIn("1:name=systemd:/\n"), "/");
  assertEquals(
    pathIn("2:memory:/a.service\n1:name=other:/b.service\n"),
    undefined,
  );
  assertEquals(pathIn("2:memory:/\n0::/a:b::c.service\n"), "/a:b::c.service");
  assertEquals(pathIn(""), undefined);
});

Deno.test("paths outside the cgroup namespace are recognized", () => {
  for (const path of ["/..", "/../..", "/../a.service"]) {
    assertEquals(isOutside(path), true, path);
  }
  for (const path of ["/", "/..a", "/a/..b", "/...", ""]) {
    assertEquals(isOutside(path), false, path);
  }
});

const MOUNTINFO = `22 27 0:21 / /proc rw,relatime - proc proc rw
30 22 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
31 22 0:27 / /sys/fs/cgroup/systemd rw shared:10 - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
32 22 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:11 - cgroup cgroup rw,cpu,cpuacct
33 22 0:28 /docker/a /mnt/with\\040space rw master:1 propagate_from:2 - cgroup cgroup rw,cpu,cpuacct
34 22 8:1 / / rw - ext4 /dev/sda1 rw
35 34 0:40 / /home/a rw - fuse.sshfs a@b: rw,user_id=1000
36 34 8:2 / /home rw - ext4 /dev/sdb1 rw
nonsense
37 34 8:3 / /home rw -
`;

Deno.test("the mounts of hierarchies are found", () => {
  const mounts = cgroupMounts(MOUNTINFO);
  assertEquals(
    [...mounts].map(([name, { directory }]) => [name, directory]),
    [
      ["", "/sys/fs/cgroup/unified"],
      ["name=systemd", "/sys/fs/cgroup/systemd"],
      ["cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct"],
    ],
  );
});

Deno.test("of several mounts of a hierarchy, one that cannot be reached is left out", () => {
  const isUsable = ({ directory }: Mount) => !directory.includes("cpu");
  assertEquals(
    cgroupMounts(MOUNTINFO, isUsable).get("cpu,cpuacct")?.directory,
    "/mnt/with space",
  );
});

Deno.test("mounts are parsed, and the mount of a path is found", () => {
  const mounts = parseMountinfo(MOUNTINFO);
  assertEquals(mounts.map(({ id }) => id), [
    22n,
    30n,
    31n,
    32n,
    33n,
    34n,
    35n,
    36n,
  ]);
  assertEquals(mounts[4].directory, "/mnt/with space");
  assertEquals(mounts[4].root, "/docker/a");
  assertEquals(mounts[7].device, 8n << 32n | 2n);
  const typeAt = (path: string) => mountOf(path, mounts)?.id;
  assertEquals(typeAt("/bin/x"), 34n);
  assertEquals(typeAt("/home/b/x"), 36n);
  assertEquals(typeAt("/home/a"), 35n);
  assertEquals(typeAt("/home/a/x"), 35n);
  assertEquals(typeAt("/home/ab"), 36n);
  assertEquals(mountOf("/x", []), undefined);
});

Deno.test("in a cgroup namespace whose place is known, paths are the machine's", () => {
  setOwnCgroup("/kubepods.slice/pod1.slice/own.scope");
  try {
    assertEquals(
      parseCgroups("1:name=systemd:/x\n0::/../../pod2.slice/other.scope\n"),
      [
        { hierarchy: "name=systemd", path: "/x" },
        { hierarchy: "", path: "/kubepods.slice/pod2.slice/other.scope" },
      ],
    );
    for (
      const [seen, path] of [
        ["/", "/kubepods.slice/pod1.slice/own.scope"],
        ["/a", "/kubepods.slice/pod1.slice/own.scope/a"],
        ["/../../..", "/"],
        ["/../../../system.slice/x", "/system.slice/x"],
      ]
    ) assertEquals(seenByMachine(seen), path);
    const mounts = cgroupMounts(
      `1 2 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw
3 2 0:26 /../../.. /host/sys/fs/cgroup ro - cgroup2 cgroup rw
`,
    );
    assertEquals(mounts.get("")?.directory, "/host/sys/fs/cgroup");
    assertEquals(mounts.get("")?.root, "/");
  } finally {
    setOwnCgroup(undefined);
  }
  assertEquals(seenByMachine("/../a"), "/../a");
});
