/**
 * Tests of containers that run in Podman: rcap finds them by name and by id, caps one,
 * and is not misled by the names of cgroups that users make.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { SizeReport } from "../../../lib/oneshot/size_report.ts";
import { Cgroup, cgroupMounts, uniqueWord } from "../../support/cgroups.ts";
import { quicklyBy, TestDaemon } from "../../support/daemon.ts";
import { MIB, requireRoot } from "../../support/live.ts";
import { Podman } from "../../support/podman.ts";
import { rcap, rcapJson } from "../../support/rcap.ts";
import { zramSwap } from "../../support/swap.ts";
import { Workload } from "../../support/workload.ts";

requireRoot();

const SIZE = 48 * MIB;
const NOBODY = 65534;

Deno.test("rcap finds containers of Podman, and caps one of them", async () => {
  await using podman = await Podman.open();
  const suffix = crypto.randomUUID().slice(0, 8);
  await using web = await podman.run(`web-${suffix}`, SIZE);
  await using other = await podman.run(`other-${suffix}`, SIZE);

  // What groups there are.
  const { json: sizes } = await rcapJson<SizeReport>(
    ["size", "--by", "container", "--observe", "2s"],
  );
  for (const { name } of [web, other]) {
    const group = sizes.groups.find((one) => one.name === `container:${name}`);
    assert(group, `${name} is among ${sizes.groups.map(({ name }) => name)}`);
    assert(group.size >= SIZE, `${group.size}`);
  }

  // A cap, by name; the metrics tell the container.
  await using _swap = await zramSwap({ size: 128 * MIB, priority: 32_767 });
  await using daemon = await TestDaemon.start({
    config: `${quicklyBy("clock")}
[[cap]]
name = "web"
select = ["container:${web.name}"]
max_rss = "16M"

[[cap]]
name = "by-id"
select = ["container:${other.id.slice(0, 12)}"]
max_rss = "1G"
`,
    args: ["--metrics", "0"],
  });
  await daemon.untilGroup(
    "web",
    ({ rss, swap }) => rss <= 16 * MIB && (swap ?? 0) > 24 * MIB,
    "the cap of the container to be met",
  );
  const untouched = daemon.group("by-id");
  assert(untouched.rss >= SIZE, `${untouched.rss}`);
  assertEquals(untouched.statistics.scans, 0);
  const port = await daemon.listeningPort();
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`))
    .text();
  for (const [group, { name }] of [["web", web], ["by-id", other]] as const) {
    const line =
      `rcap_container_info{group="${group}",container="${name}",pod="",namespace=""} 1`;
    assert(metrics.includes(line), metrics);
  }
});

Deno.test("a user cannot put a process into the container of another", async () => {
  await using podman = await Podman.open();
  const name = `web-${crypto.randomUUID().slice(0, 8)}`;
  await using web = await podman.run(name, SIZE);
  const unified = cgroupMounts().find(({ version }) => version === 2);
  assert(unified, "cgroups of version 2 are mounted");
  // A cgroup of a user, as systemd delegates one, and in it one that seems to be web's.
  const word = uniqueWord();
  await using own = new Cgroup(unified.path, word);
  await using seeming = new Cgroup(unified.path, `${word}/libpod-${web.id}`);
  for (const { path } of [own, seeming]) Deno.chownSync(path, NOBODY, NOBODY);
  await using workload = await Workload.start();
  seeming.put(workload);
  const cgroups = Deno.readTextFileSync(`/proc/${workload.pid}/cgroup`);
  assert(cgroups.includes(web.id), cgroups);

  const { code, stderr } = await rcap(
    ["scan", `container:${name}`, "+", `pid:${workload.pid}`, "--cap", "1G"],
  );
  assertEquals(code, 5, stderr);
  // The same cgroup, once only root may make others beside it.
  Deno.chownSync(own.path, 0, 0);
  const { code: found, stderr: why } = await rcap(
    ["scan", `container:${name}`, "+", `pid:${workload.pid}`, "--cap", "1G"],
  );
  assertEquals(found, 0, why);
});
