/**
 * Containers, by the path of a cgroup.
 *
 * Every engine names the cgroup of a container after its id, 64 hexadecimal digits:
 *
 * - Docker: `/docker/ID`, or with its systemd driver `/system.slice/docker-ID.scope`.
 * - Podman: `/libpod_parent/libpod-ID`, `/machine.slice/libpod-ID.scope`, or in the unit
 *   that runs it `libpod-payload-ID`; what is named `libpod-conmon-ID` watches over it.
 * - In a pod of Kubernetes: `cri-containerd-ID.scope` or `crio-ID.scope`, below
 *   `kubepods-burstable-podUID.slice` with underscores in the UID, or without systemd
 *   `/kubepods/burstable/podUID/ID`: pkg/kubelet/cm/cgroup_manager_linux.go of Kubernetes.
 *
 * What is below belongs to the container, which can choose any names there, so the
 * outermost container counts. What is in a user's own manager belongs to the user.
 *
 * @module
 */

/** The engine that runs a container, as far as the path tells. */
export type ContainerEngine =
  | "docker"
  | "podman"
  | "containerd"
  | "cri-o"
  | "unknown";

/** What the path of a cgroup tells of a container. */
export interface ContainerPlace {
  /** The id of the container; `undefined` if the cgroup is one of a pod only. */
  readonly id: string | undefined;
  readonly engine: ContainerEngine;
  /** The UID of its pod, in the notation of Kubernetes. */
  readonly podUid: string | undefined;
  /** The user whose manager it is in; `undefined` for one of the machine. */
  readonly uid: number | undefined;
  /**
   * The cgroup in which nobody but root may make others, so that the names are what they
   * seem: that above the container, its pod, or the user's manager.
   */
  readonly above: string;
}

const ID = "[0-9a-f]{64}";

const NAMED = new RegExp(
  `^(?:(docker|libpod|libpod-payload|cri-containerd|nerdctl|crio)-)(${ID})(?:\\.scope)?$`,
);
const BARE = new RegExp(`^${ID}$`);

const ENGINES: Readonly<Record<string, ContainerEngine>> = {
  docker: "docker",
  libpod: "podman",
  "libpod-payload": "podman",
  "cri-containerd": "containerd",
  nerdctl: "containerd",
  crio: "cri-o",
};

/** The cgroup of a pod, with and without systemd. A static pod has a hash as its UID. */
const POD_SLICE =
  /^(?:.+-)?kubepods(?:-burstable|-besteffort)?-pod([0-9a-f]{8}(?:_[0-9a-f]{4}){3}_[0-9a-f]{12}|[0-9a-f]{32})\.slice$/;
const POD = /^pod([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32})$/;

/** The manager of a user's own units: user@.service(5). */
const USER_MANAGER = /^user@(\d{1,10})\.service$/;

/** Below it, Podman names the cgroups of its own pods like containers. */
const LIBPOD = "libpod_parent";

/**
 * Returns the outermost container in the path of a cgroup; `undefined` if there is none.
 */
export function containerIn(path: string): ContainerPlace | undefined {
  const parts = path.split("/").filter((part) => part !== "");
  let uid: number | undefined;
  let podUid: string | undefined;
  let above: string | undefined;
  for (const [index, part] of parts.entries()) {
    const here = () => `/${parts.slice(0, index).join("/")}`;
    if (podUid === undefined) {
      const slice = POD_SLICE.exec(part)?.[1].replaceAll("_", "-");
      const isKube = parts.slice(0, index).some((one) => one === "kubepods");
      podUid = slice ?? (isKube ? POD.exec(part)?.[1] : undefined);
      if (podUid !== undefined) {
        above ??= here();
        continue;
      }
    }
    const manager = USER_MANAGER.exec(part)?.[1];
    if (manager !== undefined && uid === undefined && podUid === undefined) {
      uid = Number(manager);
      above ??= here();
      continue;
    }
    const [, prefix, named] = NAMED.exec(part) ?? [];
    const id = named ??
      (BARE.test(part) && parts[index - 1] !== LIBPOD ? part : undefined);
    if (id === undefined) continue;
    const engine = prefix === undefined
      ? parts[index - 1] === "docker" ? "docker" : "unknown"
      : ENGINES[prefix];
    return {
      id,
      engine,
      // What a user's cgroup is called says nothing of the machine's pods.
      podUid: uid === undefined ? podUid : undefined,
      uid,
      // Within a pod, root alone makes cgroups, too.
      above: uid === undefined ? here() : above ?? here(),
    };
  }
  return podUid === undefined || uid !== undefined
    ? undefined
    : { id: undefined, engine: "unknown", podUid, uid, above: above ?? "/" };
}
