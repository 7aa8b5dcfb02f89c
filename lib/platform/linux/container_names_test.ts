/**
 * Tests of the names of containers, with the files of each engine as they are on disk.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import "../../../ffi/testing.ts";
import { NameFiles } from "./container_names.ts";
import { containerIn } from "./container_path.ts";
import { HostFiles } from "./host_files.ts";

const ID = "9ce2b77ad46306007530c9993fbee3cbe077c0dfe0610b5c0e65b160bcb14bd9";
const OTHER =
  "1678b8a530b8dc9e805182a387bc64c849e599ab5617c4c6196cf8227889e3e3";
const UID = "12345678-9abc-def0-1234-56789abcdef0";
const SLICE =
  "/kubepods.slice/kubepods-pod12345678_9abc_def0_1234_56789abcdef0.slice";
const OWN = "/user.slice/user-4711.slice/user@4711.service";

/** The files of a machine, below a folder that is removed when disposed. */
class Machine implements Disposable {
  readonly root = Deno.makeTempDirSync({ prefix: "rcap-" });

  write(path: string, contents: unknown): string {
    const file = this.root + path;
    Deno.mkdirSync(file.replace(/\/[^/]*$/, ""), { recursive: true });
    Deno.writeTextFileSync(
      file,
      typeof contents === "string" ? contents : JSON.stringify(contents),
    );
    return file;
  }

  /** The names of the container in the path of a cgroup. */
  namesOf(path: string) {
    const place = containerIn(path);
    if (!place) throw new Error(`there is no container in ${path}`);
    const { name, pod } = new NameFiles(new HostFiles(this.root)).namesOf(
      place,
    );
    return { name, pod };
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.root, { recursive: true });
  }
}

const NOTHING = { name: undefined, pod: undefined };

Deno.test("Docker's own record names a container", () => {
  using machine = new Machine();
  const path = `/system.slice/docker-${ID}.scope`;
  assertEquals(machine.namesOf(path), NOTHING, "there is no Docker");
  const file = `/var/lib/docker/containers/${ID}/config.v2.json`;
  machine.write(file, {
    State: { Running: true, Pid: 1 },
    ID,
    Name: "/web",
    Driver: "overlay2",
  });
  const web = { name: "web", pod: undefined };
  assertEquals(machine.namesOf(path), web);
  assertEquals(machine.namesOf(`/docker/${ID}`), web);
  assertEquals(machine.namesOf(`/batch/${ID}`), web, "an unknown parent");
  assertEquals(machine.namesOf(`/libpod_parent/libpod-${ID}`), NOTHING);
  machine.write(file, { ID: OTHER, Name: "/web" });
  assertEquals(machine.namesOf(path), NOTHING, "another container's");
  for (const name of ["/../web", "/a/b", "/", "/web\u001b[2J", 5]) {
    machine.write(file, { ID, Name: name });
    assertEquals(machine.namesOf(path), NOTHING, `${name}`);
  }
  for (const text of ["", "[", "null", "[]", '"x"']) {
    machine.write(file, text);
    assertEquals(machine.namesOf(path), NOTHING, text);
  }
});

Deno.test("Podman's lists name containers, those that are removed at their end, too", () => {
  using machine = new Machine();
  const lists = "/var/lib/containers/storage/overlay-containers";
  machine.write(`${lists}/containers.json`, [
    { id: ID, names: ["web"], image: "1121", flags: { MountLabel: "" } },
    { id: "1", image: "2" },
  ]);
  machine.write(`${lists}/volatile-containers.json`, [
    { id: OTHER, names: ["job", "alias"] },
  ]);
  const named = (name: string) => ({ name, pod: undefined });
  assertEquals(
    machine.namesOf(`/machine.slice/libpod-${ID}.scope/container`),
    named("web"),
  );
  assertEquals(
    machine.namesOf(`/libpod_parent/libpod-${OTHER}`),
    named("job"),
  );
  assertEquals(
    machine.namesOf(`/system.slice/web.service/libpod-payload-${ID}`),
    named("web"),
  );
});

Deno.test("the bundle of a container of containerd names it and its pod", () => {
  using machine = new Machine();
  const path = `${SLICE}/cri-containerd-${ID}.scope`;
  const bundle =
    `/run/containerd/io.containerd.runtime.v2.task/k8s.io/${ID}/config.json`;
  const annotations = {
    "io.kubernetes.cri.container-name": "nginx",
    "io.kubernetes.cri.container-type": "container",
    "io.kubernetes.cri.image-name": "docker.io/library/nginx:1",
    "io.kubernetes.cri.sandbox-id": OTHER,
    "io.kubernetes.cri.sandbox-name": "web-0",
    "io.kubernetes.cri.sandbox-namespace": "shop",
    "io.kubernetes.cri.sandbox-uid": UID,
  };
  machine.write(bundle, { ociVersion: "1.1.0", annotations });
  const pod = { namespace: "shop", name: "web-0", container: "nginx" };
  assertEquals(machine.namesOf(path), { name: undefined, pod });
  assertEquals(
    machine.namesOf(`/kubepods/pod${UID}/${ID}`),
    { name: undefined, pod },
  );
  machine.write(bundle, {
    annotations: {
      ...annotations,
      "io.kubernetes.cri.container-type": "sandbox",
    },
  });
  const sandbox = { ...pod, container: undefined };
  assertEquals(machine.namesOf(path), { name: undefined, pod: sandbox });
  machine.write(bundle, {
    annotations: { ...annotations, "io.kubernetes.cri.sandbox-uid": OTHER },
  });
  assertEquals(
    machine.namesOf(path),
    NOTHING,
    "of another pod than the cgroup",
  );
});

Deno.test("the bundle of a container of CRI-O names it and its pod", () => {
  using machine = new Machine();
  const path = `${SLICE}/crio-${ID}.scope`;
  const bundle =
    `/run/containers/storage/overlay-containers/${ID}/userdata/config.json`;
  const annotations = {
    "io.kubernetes.cri-o.ContainerType": "container",
    "io.kubernetes.container.name": "nginx",
    "io.kubernetes.pod.name": "web-0",
    "io.kubernetes.pod.namespace": "shop",
    "io.kubernetes.pod.uid": UID,
  };
  machine.write(bundle, { annotations });
  const pod = { namespace: "shop", name: "web-0", container: "nginx" };
  assertEquals(machine.namesOf(path), { name: undefined, pod });
  machine.write(bundle, {
    annotations: { ...annotations, "io.kubernetes.container.name": "POD" },
  });
  assertEquals(machine.namesOf(path).pod, { ...pod, container: undefined });
});

Deno.test("without a bundle, the directory of its logs names a pod", () => {
  using machine = new Machine();
  machine.write(`/var/log/pods/shop_web-0_${UID}/nginx/0.log`, "");
  machine.write(`/var/log/pods/shop_other_${OTHER.slice(0, 32)}/x/0.log`, "");
  const pod = { namespace: "shop", name: "web-0", container: undefined };
  const expected = { name: undefined, pod };
  assertEquals(
    machine.namesOf(`${SLICE}/cri-containerd-${ID}.scope`),
    expected,
  );
  assertEquals(machine.namesOf(SLICE), expected, "the pod itself");
});

Deno.test({
  name: "what others than root can change names nothing",
  // Only root can give files away.
  ignore: Deno.uid() !== 0,
  fn() {
    using machine = new Machine();
    const path = `/docker/${ID}`;
    const folder = `/var/lib/docker/containers/${ID}`;
    const file = machine.write(`${folder}/config.v2.json`, {
      ID,
      Name: "/web",
    });
    const web = { name: "web", pod: undefined };
    assertEquals(machine.namesOf(path), web);
    for (const place of [file, `${machine.root}/var/lib/docker`]) {
      Deno.chownSync(place, 4711, 4711);
      assertEquals(machine.namesOf(path), NOTHING, place);
      Deno.chownSync(place, 0, 0);
    }
    Deno.chmodSync(file, 0o666);
    assertEquals(machine.namesOf(path), NOTHING, "others may write to it");
    Deno.removeSync(file);
    Deno.symlinkSync("/dev/zero", file);
    assertEquals(machine.namesOf(path), NOTHING, "it never ends");
    Deno.removeSync(file);
    Deno.mkdirSync(file);
    assertEquals(machine.namesOf(path), NOTHING, "it is a directory");
    Deno.removeSync(file);
    Deno.writeTextFileSync(file, `"${"x".repeat(5 * 2 ** 20)}"`);
    assertEquals(machine.namesOf(path), NOTHING, "it is too large");
  },
});

Deno.test({
  name: "a user's own Podman names the containers of that user only",
  ignore: Deno.uid() !== 0,
  fn() {
    using machine = new Machine();
    machine.write(
      "/etc/passwd",
      "root:x:0:0::/root:/bin/sh\nann:x:4711:4711:Ann,,,:/home/ann:/bin/sh\n",
    );
    const storage = "/home/ann/.local/share/containers/storage";
    const file = machine.write(
      `${storage}/overlay-containers/containers.json`,
      [
        { id: ID, names: ["web"] },
      ],
    );
    const path = `${OWN}/user.slice/libpod-${ID}.scope/container`;
    assertEquals(machine.namesOf(path), NOTHING, "it is not the user's");
    for (let at = file; at !== `${machine.root}/home`;) {
      Deno.chownSync(at, 4711, 4711);
      at = at.replace(/\/[^/]*$/, "");
    }
    assertEquals(machine.namesOf(path), { name: "web", pod: undefined });
    assertEquals(
      machine.namesOf(`/machine.slice/libpod-${ID}.scope`),
      NOTHING,
      "it is not the machine's",
    );
    Deno.removeSync(file);
    Deno.symlinkSync("/etc/passwd", file);
    assertEquals(machine.namesOf(path), NOTHING, "a link is not followed");
  },
});
