/**
 * Tests of containers in the paths of cgroups: the layouts of each engine.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { containerIn } from "./container_path.ts";

const ID = "9ce2b77ad46306007530c9993fbee3cbe077c0dfe0610b5c0e65b160bcb14bd9";
const OTHER =
  "1678b8a530b8dc9e805182a387bc64c849e599ab5617c4c6196cf8227889e3e3";
const UID = "12345678-9abc-def0-1234-56789abcdef0";
const SLICE = "12345678_9abc_def0_1234_56789abcdef0";

/** The container in a path, in short. */
function short(path: string): string {
  const found = containerIn(path);
  if (!found) return "none";
  const { id, engine, podUid, uid, above } = found;
  const which = id === ID ? "ID" : id === OTHER ? "OTHER" : `${id}`;
  return [
    engine,
    which,
    ...podUid === undefined ? [] : [`pod ${podUid === UID ? "UID" : podUid}`],
    ...uid === undefined ? [] : [`user ${uid}`],
    above,
  ].join(" ");
}

Deno.test("containers are found in the cgroups of every engine", () => {
  const kube = "/kubepods.slice/kubepods-burstable.slice";
  const cases: [path: string, expected: string][] = [
    [`/docker/${ID}`, "docker ID /docker"],
    [`/docker/${ID}/init.scope`, "docker ID /docker"],
    [`/system.slice/docker-${ID}.scope`, "docker ID /system.slice"],
    [`/batch/${ID}`, "unknown ID /batch"],
    [`/libpod_parent/libpod-${ID}`, "podman ID /libpod_parent"],
    [
      `/libpod_parent/${OTHER}/libpod-${ID}`,
      `podman ID /libpod_parent/${OTHER}`,
    ],
    [
      `/machine.slice/libpod-${ID}.scope/container`,
      "podman ID /machine.slice",
    ],
    [
      `/machine.slice/machine-libpod_pod_${OTHER}.slice/libpod-${ID}.scope`,
      `podman ID /machine.slice/machine-libpod_pod_${OTHER}.slice`,
    ],
    [
      `/system.slice/web.service/libpod-payload-${ID}`,
      "podman ID /system.slice/web.service",
    ],
    [`/system.slice/nerdctl-${ID}.scope`, "containerd ID /system.slice"],
    [
      `/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${ID}.scope/container`,
      "podman ID user 1000 /user.slice/user-1000.slice",
    ],
    [
      `/user.slice/user-1000.slice/user@1000.service/app.slice/web.service/libpod-payload-${ID}`,
      "podman ID user 1000 /user.slice/user-1000.slice",
    ],
    [
      `${kube}/kubepods-burstable-pod${SLICE}.slice/cri-containerd-${ID}.scope`,
      `containerd ID pod UID ${kube}/kubepods-burstable-pod${SLICE}.slice`,
    ],
    [
      `/kubepods.slice/kubepods-pod${SLICE}.slice/crio-${ID}.scope/container`,
      `cri-o ID pod UID /kubepods.slice/kubepods-pod${SLICE}.slice`,
    ],
    [
      `/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod${SLICE}.slice/cri-containerd-${ID}.scope`,
      `containerd ID pod UID /kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod${SLICE}.slice`,
    ],
    [
      `/kubepods/besteffort/pod${UID}/${ID}`,
      `unknown ID pod UID /kubepods/besteffort/pod${UID}`,
    ],
    [
      `/kubepods/pod${"0123456789abcdef".repeat(2)}/${ID}`,
      `unknown ID pod ${"0123456789abcdef".repeat(2)} /kubepods/pod${
        "0123456789abcdef".repeat(2)
      }`,
    ],
    [
      `${kube}/kubepods-burstable-pod${SLICE}.slice`,
      `unknown undefined pod UID ${kube}`,
    ],
  ];
  for (const [path, expected] of cases) {
    assertEquals(short(path), expected, path);
  }
});

Deno.test("what is not a container is not taken for one", () => {
  for (
    const path of [
      "/",
      "/system.slice/docker.service",
      "/system.slice/containerd.service",
      `/machine.slice/libpod-conmon-${ID}.scope`,
      `/libpod_parent/${ID}`,
      "/libpod_parent/conmon",
      "/system.slice/web.service/runtime",
      `/system.slice/docker-${ID.slice(1)}.scope`,
      `/system.slice/docker-${ID.toUpperCase()}.scope`,
      `/system.slice/docker-${ID}.scope.d`,
      `/somewhere/pod${UID}`,
      `/user.slice/user-1000.slice/user@1000.service/kubepods/pod${UID}`,
    ]
  ) {
    assertEquals(short(path), "none", path);
  }
});

Deno.test("a container or a user cannot seem to be another one", () => {
  assertEquals(
    short(`/docker/${ID}/docker/${OTHER}`),
    "docker ID /docker",
    "a container in a container",
  );
  assertEquals(
    short(
      `/system.slice/docker-${ID}.scope/user.slice/user-0.slice/user@0.service/libpod-${OTHER}.scope`,
    ),
    "docker ID /system.slice",
  );
  const own = "/user.slice/user-1000.slice/user@1000.service";
  assertEquals(
    short(`${own}/user@0.service/docker-${ID}.scope`),
    "docker ID user 1000 /user.slice/user-1000.slice",
    "what is in a user's manager is the user's",
  );
  assertEquals(
    short(`${own}/kubepods/pod${UID}/${ID}`),
    "unknown ID user 1000 /user.slice/user-1000.slice",
  );
});
