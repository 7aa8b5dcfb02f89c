/**
 * The names of containers and pods, from the files of the engines that run them.
 *
 * Only files are read that nobody but root can change; of a user's own engine, those of
 * that user. What a file says is checked, and files are read up to a limit.
 *
 * - Docker: `containers/ID/config.v2.json` of its data root.
 * - Podman, by containers/storage: `containers.json`, and `volatile-containers.json` for
 *   those that are removed when they end: containers-storage.conf(5).
 * - Kubernetes: the annotations of the OCI bundle, which containerd has in its state
 *   directory and CRI-O in that of containers/storage, and `/var/log/pods`, where a
 *   directory is called `NAMESPACE_NAME_UID`: pkg/kubelet/kuberuntime/helpers.go.
 *
 * @module
 */

import * as v from "valibot";
import type { Entry, OpenFile } from "../directory.ts";
import type { PodName } from "../platform.ts";
import { openFileIn } from "../trusted_path.ts";
import type { ContainerPlace } from "./container_path.ts";
import { HostFiles, nothing, readText } from "./host_files.ts";

/** Where Docker keeps containers. */
const DOCKER = "/var/lib/docker/containers";

/** Where containers/storage keeps lists, by driver; and bundles, for CRI-O. */
const STORAGE = "/var/lib/containers/storage";
const STORAGE_RUN = "/run/containers/storage";
const DRIVERS = ["overlay", "vfs", "btrfs"];
const LISTS = ["containers.json", "volatile-containers.json"];

/** The storage of a user's own Podman, below the home. */
const OWN_STORAGE = ".local/share/containers/storage";

/** Where containerd keeps bundles, by namespace; the other is that of k3s and RKE2. */
const BUNDLES = [
  "/run/containerd/io.containerd.runtime.v2.task",
  "/run/k3s/containerd/io.containerd.runtime.v2.task",
];
const NAMESPACES = ["k8s.io", "default"];

const POD_LOGS = "/var/log/pods";

/** What engines allow: letters and digits, and some other characters behind the first. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,252}$/;

const name = v.fallback(
  v.optional(v.pipe(v.string(), v.regex(NAME))),
  undefined,
);

const DOCKER_CONFIG = v.object({ ID: v.string(), Name: v.string() });
const STORED = v.array(
  v.object({ id: v.string(), names: v.optional(v.array(v.string()), []) }),
);
const BUNDLE = v.object({
  annotations: v.object({
    "io.kubernetes.cri.container-type": name,
    "io.kubernetes.cri.container-name": name,
    "io.kubernetes.cri.sandbox-name": name,
    "io.kubernetes.cri.sandbox-namespace": name,
    "io.kubernetes.cri.sandbox-uid": name,
    "io.kubernetes.container.name": name,
    "io.kubernetes.pod.name": name,
    "io.kubernetes.pod.namespace": name,
    "io.kubernetes.pod.uid": name,
    "nerdctl/name": name,
  }),
});

/** What CRI-O calls the container that only holds the namespaces of a pod. */
const SANDBOX = "POD";

/** The names of a container, as far as they are known. */
export interface ContainerNames {
  readonly name: string | undefined;
  readonly pod: PodName | undefined;
}

/** Reads names. */
export class NameFiles {
  readonly #host: HostFiles;

  constructor(host = new HostFiles()) {
    this.#host = host;
  }

  /** Returns the names of a container or pod. */
  namesOf({ id, engine, podUid, uid }: ContainerPlace): ContainerNames {
    if (uid !== undefined) {
      return { name: id && this.#ownStored(id, uid), pod: undefined };
    }
    const bundle = id === undefined ? undefined : this.#bundle(id, podUid);
    if (podUid !== undefined) {
      return { name: undefined, pod: bundle?.pod ?? this.#logged(podUid) };
    }
    if (id === undefined || engine === "containerd" || engine === "cri-o") {
      return { name: bundle?.name, pod: undefined };
    }
    const docker = () => this.#docker(id);
    const podman = () => this.#stored(id);
    const found = engine === "podman"
      ? podman()
      : engine === "docker"
      ? docker()
      : docker() ?? podman() ?? bundle?.name;
    return { name: found, pod: undefined };
  }

  #docker(id: string): string | undefined {
    const config = this.#parsed(
      `${DOCKER}/${id}/config.v2.json`,
      DOCKER_CONFIG,
    );
    return config?.ID === id ? valid(config.Name.slice(1)) : undefined;
  }

  #stored(id: string): string | undefined {
    for (const driver of DRIVERS) {
      for (const list of LISTS) {
        const path = `${STORAGE}/${driver}-containers/${list}`;
        const found = nameIn(this.#parsed(path, STORED), id);
        if (found !== undefined) return found;
      }
    }
    return undefined;
  }

  /** The name that a user's own Podman has for a container. */
  #ownStored(id: string, uid: number): string | undefined {
    const home = this.#homeOf(uid);
    if (home === undefined) return undefined;
    for (const driver of DRIVERS) {
      using directory = this.#ownDirectory(
        `${home}/${OWN_STORAGE}/${driver}-containers`,
        uid,
      );
      if (!directory) continue;
      for (const list of LISTS) {
        const stored = parsed(
          () => openFileIn(directory, list, { ofOwner: true }),
          STORED,
        );
        const found = nameIn(stored, id);
        if (found !== undefined) return found;
      }
    }
    return undefined;
  }

  /** A directory of a user, wherever others may have led to it. */
  #ownDirectory(path: string, uid: number): Entry | undefined {
    try {
      using cleanup = new DisposableStack();
      const directory = cleanup.use(
        this.#host.openDirectory(path, { onDistrust: () => {} }),
      );
      if (directory.status.uid !== uid) return undefined;
      cleanup.move();
      return directory;
    } catch (error) {
      return nothing(error);
    }
  }

  /** The home of a user of the machine's own list; other sources may take long. */
  #homeOf(uid: number): string | undefined {
    const user = this.#host.passwd()?.find((one) => one.uid === uid);
    return user?.home.startsWith("/") ? user.home : undefined;
  }

  /** What the bundle of a container says. */
  #bundle(id: string, podUid: string | undefined): ContainerNames | undefined {
    for (const path of this.#bundlePaths(id)) {
      const notes = this.#parsed(path, BUNDLE)?.annotations;
      if (notes) return namesIn(notes, podUid);
    }
    return undefined;
  }

  *#bundlePaths(id: string): Generator<string> {
    for (const base of BUNDLES) {
      for (const namespace of NAMESPACES) {
        yield `${base}/${namespace}/${id}/config.json`;
      }
    }
    for (const driver of DRIVERS) {
      yield `${STORAGE_RUN}/${driver}-containers/${id}/userdata/config.json`;
    }
  }

  /** The name of a pod by the directory of its logs. */
  #logged(podUid: string): PodName | undefined {
    try {
      using directory = this.#host.openDirectory(POD_LOGS);
      const found = directory.names().find((one) => one.endsWith(`_${podUid}`));
      const [namespace, pod] = found?.split("_") ?? [];
      return podName(namespace, pod);
    } catch (error) {
      return nothing(error);
    }
  }

  #parsed<S extends v.GenericSchema>(
    path: string,
    schema: S,
  ): v.InferOutput<S> | undefined {
    return parsed(() => this.#host.open(path), schema);
  }
}

/** What the annotations of a bundle say. The UID of the pod has to be the cgroup's. */
function namesIn(
  notes: v.InferOutput<typeof BUNDLE>["annotations"],
  podUid: string | undefined,
): ContainerNames {
  const uid = notes["io.kubernetes.cri.sandbox-uid"] ??
    notes["io.kubernetes.pod.uid"];
  const pod = uid === undefined || uid !== podUid ? undefined : podName(
    notes["io.kubernetes.cri.sandbox-namespace"] ??
      notes["io.kubernetes.pod.namespace"],
    notes["io.kubernetes.cri.sandbox-name"] ?? notes["io.kubernetes.pod.name"],
    notes["io.kubernetes.cri.container-type"] === "sandbox"
      ? undefined
      : notes["io.kubernetes.cri.container-name"] ??
        notes["io.kubernetes.container.name"],
  );
  return { name: notes["nerdctl/name"], pod };
}

function podName(
  namespace: string | undefined,
  pod: string | undefined,
  container?: string,
): PodName | undefined {
  const [space, name] = [namespace, pod].map((one) => valid(one));
  return space === undefined || name === undefined ? undefined : {
    namespace: space,
    name,
    container: container === SANDBOX ? undefined : container,
  };
}

function nameIn(
  stored: v.InferOutput<typeof STORED> | undefined,
  id: string,
): string | undefined {
  return valid(stored?.find((one) => one.id === id)?.names[0]);
}

function valid(text: string | undefined): string | undefined {
  return text !== undefined && NAME.test(text) ? text : undefined;
}

/** Reads a file of JSON; `undefined` if there is none to trust, or it is something else. */
function parsed<S extends v.GenericSchema>(
  open: () => OpenFile,
  schema: S,
): v.InferOutput<S> | undefined {
  const text = readText(open);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return undefined;
  }
  const result = v.safeParse(schema, value);
  return result.success ? result.output : undefined;
}
