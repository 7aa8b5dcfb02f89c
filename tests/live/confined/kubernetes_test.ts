/**
 * Tests of a daemon as in a pod of Kubernetes: it watches the pods of its node at an API
 * server that replays exchanges, and caps real processes in the cgroup of a pod.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { exchangesOf, ReplayedApiServer } from "../../support/api_server.ts";
import { Cgroup, cgroupMounts } from "../../support/cgroups.ts";
import { quicklyBy, TestDaemon } from "../../support/daemon.ts";
import { Folder } from "../../support/folder.ts";
import { MIB, requireRoot } from "../../support/live.ts";
import { rcap } from "../../support/rcap.ts";
import { zramSwap } from "../../support/swap.ts";
import { until, Workload } from "../../support/workload.ts";

requireRoot();

const ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount";
const SIZE = 48 * MIB;
const CAP = "pod:shop/web-0";
const CONFIG = `${quicklyBy("clock")}kubernetes = true\n`;

/** Where rcap has the machine's file system. */
const HOST = "/run/host";

/**
 * Runs rcap as in a pod that is not privileged: with a service account, in a cgroup
 * namespace of its own, and with the machine's file system mounted.
 *
 * @param own its cgroup.
 */
function inPod(account: string, own: Cgroup): string[] {
  const script = `mount -t tmpfs -o mode=755 none /run
mkdir -p ${ACCOUNT} ${HOST}
mount --bind ${account} ${ACCOUNT}
mount --rbind --make-rslave / ${HOST}
umount --lazy ${unified().path}
mount -t cgroup2 none ${unified().path}
exec "$@"`;
  const enter = `echo $$ > ${own.path}/cgroup.procs; exec "$@"`;
  return [
    ...["sh", "-ec", enter, "sh", "unshare", "--mount", "--cgroup"],
    ...["sh", "-ec", script, "sh"],
  ];
}

function unified() {
  const mount = cgroupMounts().find(({ version }) => version === 2);
  assert(mount, "cgroups of version 2 are mounted");
  return mount;
}

/** A cgroup as of a container in a pod. */
function podCgroup(uid: string): Cgroup {
  const id = crypto.randomUUID().replaceAll("-", "").repeat(2);
  const slice = `kubepods-burstable-pod${uid.replaceAll("-", "_")}.slice`;
  return new Cgroup(
    unified().path,
    `kubepods.slice/kubepods-burstable.slice/${slice}/cri-containerd-${id}.scope`,
  );
}

/** A process in the cgroup of a pod, whose name is known by the directory of its logs. */
async function processInPod(held: AsyncDisposableStack): Promise<Workload> {
  const uid = crypto.randomUUID();
  const cgroup = held.use(podCgroup(uid));
  const hadLogs = await Deno.stat("/var/log/pods").then(
    () => true,
    () => false,
  );
  const logs = `/var/log/pods/shop_web-0_${uid}`;
  Deno.mkdirSync(logs, { recursive: true });
  held.defer(() =>
    Deno.removeSync(hadLogs ? logs : "/var/log/pods", { recursive: true })
  );
  const workload = held.use(await Workload.start());
  cgroup.put(workload);
  await workload.anon("a", SIZE);
  return workload;
}

Deno.test("annotations of pods are caps, which stay while the API server is away", async () => {
  await using held = new AsyncDisposableStack();
  const own = held.use(podCgroup(crypto.randomUUID()));
  await processInPod(held);
  await using _swap = await zramSwap({ size: 128 * MIB, priority: 32_767 });
  await using server = await ReplayedApiServer.start(
    exchangesOf("two_pods.json"),
  );
  await using daemon = await TestDaemon.start({
    config: CONFIG,
    args: ["--metrics", "0", "--host-root", HOST],
    prefix: inPod(server.account, own),
    env: server.env,
  });

  // The cap, of the annotation as it was changed.
  await daemon.untilGroup(
    CAP,
    ({ cap, rss, swap }) =>
      cap === 16 * MIB && rss <= 16 * MIB && (swap ?? 0) > 24 * MIB,
    "the cap of the pod to be met",
    60_000,
  );
  assertEquals(daemon.group(CAP).containers, [
    { container: null, pod: "web-0", namespace: "shop" },
  ]);
  const { kubernetes } = daemon.state();
  assertEquals(kubernetes?.isWatching, true);
  assertEquals(kubernetes?.pods, 2);
  assertMatch(
    kubernetes?.annotations.join() ?? "",
    /^pod shop\/bad-0 has no cap by its annotations: rcap.dev\/max-rss: "lots" is not a size; write /,
  );
  const stat = ["stat", "1", "1", ...daemon.place.stateArgs];
  assertMatch((await rcap(stat)).stdout, /pod shop\/bad-0 has no cap/);
  const port = await daemon.listeningPort();
  const metric = async (name: string) =>
    new RegExp(`^${name} (.*)$`, "m").exec(
      await (await fetch(`http://127.0.0.1:${port}/metrics`)).text(),
    )?.[1];
  assertEquals(await metric("rcap_kubernetes_watching"), "1");
  assertEquals(await metric("rcap_kubernetes_wrong_annotations"), "1");

  // The API server goes: the cap stays, and the daemon says so.
  await server.shutDown();
  await until(
    () => daemon.state().kubernetes?.isWatching === false,
    "the daemon to notice",
    60_000,
  );
  assertEquals(daemon.group(CAP).cap, 16 * MIB);
  // The answer for metrics is kept for a moment.
  let watching: string | undefined;
  for (let tries = 0; tries < 50 && watching !== "0"; tries++) {
    watching = await metric("rcap_kubernetes_watching");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assertEquals(watching, "0");
  assertMatch(
    (await rcap(stat)).stdout,
    /the API server of Kubernetes: .*; the caps of 2 pods are those of .* ago/,
  );

  // It is back, and the pod goes.
  const [{ lines = [] }] = exchangesOf("two_pods.json").slice(1);
  const { object } = lines[0] as { object: unknown };
  server.add({
    what: "the pod goes",
    query: { watch: "1", resourceVersion: "101" },
    lines: [{ type: "DELETED", object }],
    then: "hang",
  });
  server.listen();
  await until(
    () => daemon.state().groups.every(({ name }) => name !== CAP),
    "the cap to go with the pod",
    90_000,
  );
  assertEquals(daemon.state().kubernetes?.isWatching, true);
  const { code, stderr } = await daemon.stop();
  assertEquals(code, 0, stderr);
  assertMatch(stderr, /the caps of 2 pods stay as they were last known/);
  assertMatch(stderr, /the API server of Kubernetes answers again/);
});

Deno.test("a single scan waits for the annotations", async () => {
  await using held = new AsyncDisposableStack();
  const own = held.use(podCgroup(crypto.randomUUID()));
  await processInPod(held);
  await using _swap = await zramSwap({ size: 128 * MIB, priority: 32_767 });
  await using server = await ReplayedApiServer.start(
    exchangesOf("two_pods.json"),
  );
  using folder = new Folder();
  const config = folder.file("rcap.toml");
  Deno.writeTextFileSync(config, CONFIG);
  const { stdout, stderr } = await rcap([
    "run",
    "--once",
    "--host-root",
    HOST,
    "--json",
    "--config",
    config,
    "--state-dir",
    folder.file("state"),
  ], { prefix: inPod(server.account, own), env: server.env });
  assert(stdout !== "", stderr);
  const [group] = JSON.parse(stdout).groups;
  assertEquals(group.name, CAP);
  assert(group.statistics.scans > 0, stdout);
});

Deno.test("outside of a pod, the error says what is missing and where", async () => {
  using folder = new Folder();
  const config = folder.file("rcap.toml");
  Deno.writeTextFileSync(config, CONFIG);
  const { code, stderr } = await rcap([
    "run",
    "--config",
    config,
    "--state-dir",
    folder.file("state"),
  ]);
  assertEquals(code, 2);
  assertMatch(
    stderr,
    /rcap\.toml:\d+: kubernetes is true, but this is not a pod: KUBERNETES_SERVICE_HOST is not set; run rcap as deploy\/kubernetes does, or remove it/,
  );
});
