/**
 * A clean Debian that has booted in a container of systemd-nspawn, for tests of
 * packages. Its tree comes from mmdebstrap and is kept in the cache.
 *
 * Needs root, a mirror of Debian, and the packages systemd-container and mmdebstrap.
 *
 * @module
 */

import { homedir } from "node:os";
import { assertRuns, type Output, run } from "../../scripts/package/run.ts";
import { requirePrograms } from "./programs.ts";

/** The packages of the clean system besides the essential ones. */
const PACKAGES = "systemd,systemd-sysv,dbus";

/** How old the tree in the cache may be. */
const MOST_AGE_MS = 7 * 24 * 3_600_000;

const CACHE = `${
  Deno.env.get("XDG_CACHE_HOME") || `${homedir()}/.cache`
}/rcap-container`;

/** How long the container may take to boot, in milliseconds. */
const BOOT_MS = 120_000;
const POLL_MS = 200;

/**
 * Starts the container: `sh -c SCRIPT sh GROUP TREE`. It has a control group and, in its
 * own mount namespace, only the hierarchy of version 2, whatever the machine has.
 */
const START = `
set -eu
mount -t tmpfs -o mode=755 none /run
mount -t tmpfs none /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$1"
echo $$ > "/sys/fs/cgroup/$1/cgroup.procs"
exec systemd-nspawn --quiet --directory="$2" --boot --machine="$1" \\
  --register=no --keep-unit --console=pipe --capability=all \\
  --system-call-filter='bpf process_madvise perf_event_open'
`;

/** Removes the control group: `sh -c SCRIPT sh GROUP`. */
const CLEAN = `
mount -t tmpfs none /run
mkdir /run/group
mount -t cgroup2 none /run/group
find "/run/group/$1" -depth -type d -exec rmdir {} + 2>/dev/null || true
`;

/** A booted system; disposing ends it and removes its tree. */
export class Container implements AsyncDisposable {
  /** Where the root of its files is. */
  readonly tree: string;
  readonly #group = `rcap-test-${crypto.randomUUID().slice(0, 8)}`;
  readonly #held = new AsyncDisposableStack();
  #init = 0;

  private constructor() {
    this.tree = Deno.makeTempDirSync({
      dir: "/var/tmp",
      prefix: "rcap-container-",
    });
    this.#held.defer(() => Deno.remove(this.tree, { recursive: true }));
  }

  /** Boots a clean system. */
  static async boot(): Promise<Container> {
    await requirePrograms({
      mmdebstrap: "mmdebstrap",
      "systemd-nspawn": "systemd-container",
      zstd: "zstd",
    });
    const archive = await cleanSystem();
    const container = new Container();
    try {
      await assertRuns("tar", ["-C", container.tree, "--zstd", "-xf", archive]);
      await container.#start();
    } catch (error) {
      await container[Symbol.asyncDispose]();
      throw error;
    }
    return container;
  }

  async #start(): Promise<void> {
    const process = new Deno.Command("unshare", {
      args: ["--mount", "sh", "-c", START, "sh", this.#group, this.tree],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
      env: { SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: "1" },
    }).spawn();
    const complaints = process.stderr.text();
    let hasEnded = false;
    const status = process.status.finally(() => hasEnded = true);
    this.#held.defer(async () => {
      await run("unshare", [
        "--mount",
        "sh",
        "-c",
        CLEAN,
        "sh",
        this.#group,
      ]);
    });
    this.#held.defer(async () => {
      // systemd-nspawn powers its system off; a second one kills it.
      if (!hasEnded) process.kill("SIGTERM");
      const timer = setTimeout(() => process.kill("SIGKILL"), BOOT_MS);
      await status;
      await complaints;
      clearTimeout(timer);
    });
    const deadline = performance.now() + BOOT_MS;
    while (performance.now() < deadline) {
      if (hasEnded) throw new Error(`no container: ${await complaints}`);
      const path = `/proc/${process.pid}/task/${process.pid}/children`;
      this.#init = Number(Deno.readTextFileSync(path).split(" ")[0]);
      if (this.#init > 0) {
        const { stdout } = await this.run("systemctl", "is-system-running");
        if (/^(running|degraded)\n$/.test(stdout)) return;
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    throw new Error(`the container has not booted within ${BOOT_MS / 1000} s`);
  }

  /** Runs a program in the container. */
  run(...command: string[]): Promise<Output> {
    return run("nsenter", [`--target=${this.#init}`, "--all", ...command]);
  }

  /** Runs a program that has to succeed, and returns its standard output. */
  async must(...command: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...command);
    if (code === 0) return stdout;
    throw new Error(
      `${command.join(" ")}: exit code ${code}\n${stdout}${stderr}`,
    );
  }

  /** Copies a file into the container. */
  copy(from: string, to: string): void {
    Deno.copyFileSync(from, this.tree + to);
  }

  /** Whether the container has a file or folder. */
  has(path: string): boolean {
    try {
      Deno.lstatSync(this.tree + path);
      return true;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      return false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#held.disposeAsync();
  }
}

/**
 * Returns the archive of a clean Debian, which is in the cache or made now.
 *
 * @param suite the release of Debian.
 * @param packages besides the essential ones, separated by commas.
 * @param hook a script that runs before they are installed, with the folder of the system
 * as `$1`: mmdebstrap(1).
 */
export async function cleanSystem(
  suite = "bookworm",
  name = suite,
  packages = PACKAGES,
  hook = ":",
): Promise<string> {
  Deno.mkdirSync(CACHE, { recursive: true });
  const archive = `${CACHE}/${name}.tar.zst`;
  const age = Date.now() - (modified(archive) ?? 0);
  if (age < MOST_AGE_MS) return archive;
  const partial = `${archive}.${Deno.pid}`;
  await assertRuns("mmdebstrap", [
    "--quiet",
    "--variant=minbase",
    "--format=tar",
    `--include=${packages}`,
    `--essential-hook=${hook}`,
    suite,
    `${partial}.tar.zst`,
  ]);
  Deno.renameSync(`${partial}.tar.zst`, archive);
  return archive;
}

function modified(path: string): number | undefined {
  try {
    return Deno.statSync(path).mtime?.getTime();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return undefined;
  }
}
