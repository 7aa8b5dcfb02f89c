/**
 * Tests of the image: rcap in a container, with the options that the documentation
 * names, caps another container.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { DAEMON_CAPABILITIES } from "../../../lib/platform/linux/privileges.ts";
import type { DaemonState } from "../../../lib/group/state.ts";
import { Place, quicklyBy } from "../../support/daemon.ts";
import { MIB, requireRoot } from "../../support/live.ts";
import {
  containerOutput,
  Podman,
  podman,
  runContainer,
} from "../../support/podman.ts";
import { zramSwap } from "../../support/swap.ts";
import { until } from "../../support/workload.ts";

requireRoot();

const ROOT = new URL("../../../", import.meta.url).pathname;
const SIZE = 48 * MIB;

/** The options of docs/containers.md. */
const OPTIONS = [
  "--pid=host",
  "--cgroupns=host",
  "--read-only",
  "--cap-drop=all",
  `--cap-add=${
    DAEMON_CAPABILITIES.map((name) => name.replace("CAP_", "")).join(",")
  }`,
  "--security-opt=no-new-privileges",
  "--volume=/:/host:ro,rslave",
];
const SECCOMP = `--security-opt=seccomp=${ROOT}deploy/image/seccomp.json`;

/** Makes the image of the binary under test; disposing removes it. */
async function image(): Promise<AsyncDisposable & { name: string }> {
  const name = `localhost/rcap-test:${crypto.randomUUID()}`;
  const folder = Deno.makeTempDirSync({ prefix: "rcap-binary-" });
  try {
    const binary = Deno.env.get("RCAP_BIN") ?? `${folder}/rcap`;
    if (!Deno.env.has("RCAP_BIN")) await script("build.ts", [binary]);
    await script("image.ts", [binary, name]);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
  return {
    name,
    async [Symbol.asyncDispose]() {
      await podman(["rmi", "--force", name]);
    },
  };
}

async function script(name: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", `${ROOT}scripts/${name}`, ...args],
  }).output();
  assert(success, new TextDecoder().decode(stderr));
}

Deno.test("rcap in a container caps another container, with no more than it needs", async () => {
  await using rcapImage = await image();
  await using engine = await Podman.open();
  const suffix = crypto.randomUUID().slice(0, 8);
  await using web = await engine.run(`web-${suffix}`, SIZE);
  await using _swap = await zramSwap({ size: 128 * MIB, priority: 32_767 });
  using place = new Place();
  Deno.mkdirSync("/run/rcap", { recursive: true, mode: 0o755 });
  Deno.mkdirSync(place.state, { mode: 0o755 });
  Deno.writeTextFileSync(
    place.config,
    `${quicklyBy("clock")}
[[cap]]
name = "web"
select = ["container:${web.name}"]
max_rss = "16M"
`,
  );
  await using _rcap = await runContainer(`rcap-${suffix}`, [
    ...OPTIONS,
    SECCOMP,
    "--volume=/run/rcap:/run/rcap",
    `--volume=${place.config}:/etc/rcap.toml:ro`,
    `--volume=${place.state}:/state`,
    rcapImage.name,
    "run",
    "--host-root",
    "/host",
    "--state-dir",
    "/state",
  ]);
  let state: DaemonState | undefined;
  await until(() => {
    try {
      state = JSON.parse(Deno.readTextFileSync(`${place.state}/state.json`));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    return (state?.groups[0]?.rss ?? Infinity) <= 16 * MIB &&
      (state?.groups[0]?.swap ?? 0) > 24 * MIB;
  }, "the cap of the other container to be met");
  assertEquals(state?.pagedata, "pte");
  assertEquals(state?.groups[0].containers, [
    { container: web.name, pod: null, namespace: null },
  ]);
});

Deno.test("rcap in a container that is run otherwise says what is missing", async () => {
  await using rcapImage = await image();
  const doctor = [rcapImage.name, "doctor"];
  const found = (args: string[]) =>
    containerOutput([...args, ...doctor]).catch(({ message }) => `${message}`);
  assertMatch(await found([...OPTIONS, SECCOMP]), /pagedata +ok +source pte/);
  assertMatch(
    await found(OPTIONS),
    /allow bpf at the source of the filter: the seccomp profile/,
  );
  const others = OPTIONS.filter((option) => option !== "--pid=host");
  assertMatch(
    await found([...others, SECCOMP]),
    /namespaces +(degraded|missing)/,
  );
  const check = await containerOutput([
    rcapImage.name,
    "check",
    "--host-root",
    "/host",
  ]).catch(({ message }) => `${message}`);
  assertMatch(check, /there is no "\/host"; mount \/ of the machine there/);
});
