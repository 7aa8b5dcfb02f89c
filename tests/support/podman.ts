/**
 * Containers of Podman, with its own storage of the machine, so that its files are where
 * they always are. Their only program is a static busybox.
 *
 * It needs root, and Debian's `podman`, `runc` and `busybox-static`.
 *
 * @module
 */

import { until } from "./workload.ts";

/**
 * Runs the command that follows where only cgroups of version 2 are to be seen. On a
 * machine that has both versions, runtimes want version 1 and do not find all of it.
 */
const VERSION_2_ONLY = [
  "unshare",
  "--mount",
  "sh",
  "-ec",
  'umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec "$@"',
  "sh",
];

const BUSYBOX = "/bin/busybox";

/** A running container; disposing removes it. */
export interface PodmanContainer extends AsyncDisposable {
  readonly name: string;
  readonly id: string;
  /** The pid of its first process. */
  readonly pid: number;
}

/** Podman with an image; disposing removes the image. */
export class Podman implements AsyncDisposable {
  readonly #image: string;

  private constructor(image: string) {
    this.#image = image;
  }

  /** @throws Error if Podman is missing, or does not run here. */
  static async open(): Promise<Podman> {
    const root = Deno.makeTempDirSync({ prefix: "rcap-image-" });
    try {
      Deno.mkdirSync(`${root}/bin`);
      Deno.copyFileSync(BUSYBOX, `${root}/bin/busybox`);
      for (const name of ["sh", "head", "sleep", "tr"]) {
        Deno.symlinkSync("busybox", `${root}/bin/${name}`);
      }
      await run("tar", ["-C", root, "-cf", `${root}.tar`, "."]);
      const image = `localhost/rcap-test:${crypto.randomUUID()}`;
      await podman(["import", "--quiet", `${root}.tar`, image]);
      return new Podman(image);
    } finally {
      Deno.removeSync(root, { recursive: true });
      try {
        Deno.removeSync(`${root}.tar`);
      } catch {
        // It was not made.
      }
    }
  }

  /**
   * Runs a shell in a new container that fills memory and keeps it.
   *
   * @param name its name.
   * @param size the least of its memory, in bytes.
   */
  async run(name: string, size: number): Promise<PodmanContainer> {
    const script =
      `x=$(head -c ${size} /dev/zero | tr '\\0' x); while :; do sleep 1; done`;
    const container = await runContainer(name, [
      this.#image,
      "/bin/sh",
      "-c",
      script,
    ]);
    await until(
      () => residentOf(container.pid) >= size,
      `the memory of container ${name} to be there`,
    );
    return container;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await podman(["rmi", "--force", this.#image]);
  }
}

/**
 * Runs a container beside the test.
 *
 * @param args further options, the image, and the command.
 */
export async function runContainer(
  name: string,
  args: string[],
): Promise<PodmanContainer> {
  const id = await podman([
    "run",
    "--detach",
    "--rm",
    `--name=${name}`,
    ...await limits(),
    ...args,
  ]);
  const pid = Number(
    await podman(["inspect", "--format={{.State.Pid}}", name]),
  );
  return {
    name,
    id,
    pid,
    async [Symbol.asyncDispose]() {
      await podman(["rm", "--force", "--time=0", name]);
    },
  };
}

/** Runs a container to its end, and returns what it prints. */
export async function containerOutput(args: string[]): Promise<string> {
  return await podman(["run", "--rm", ...await limits(), ...args]);
}

/** Limits that the test itself has, since not every machine allows to raise them. */
async function limits(): Promise<string[]> {
  const limit = (await run("sh", ["-c", "ulimit -Hn"])).trim();
  return [
    "--network=none",
    "--pids-limit=0",
    `--ulimit=nofile=${limit}:${limit}`,
    "--ulimit=nproc=1000:1000",
  ];
}

/** The resident memory of a process, in bytes: proc_pid_status(5). */
function residentOf(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}

/** Runs Podman, and returns what it prints. */
export async function podman(args: string[]): Promise<string> {
  const isOnly2 = isThere("/sys/fs/cgroup/cgroup.controllers");
  const [program, ...rest] = [
    ...isOnly2 ? [] : VERSION_2_ONLY,
    "podman",
    "--cgroup-manager=cgroupfs",
    "--runtime=runc",
    ...args,
  ];
  return (await run(program, rest)).trim();
}

async function run(program: string, args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, {
    args,
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  if (success) return decoder.decode(stdout);
  throw new Error(
    `${program} ${args.join(" ")}: ${decoder.decode(stderr).trim()}`,
  );
}

function isThere(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
