/**
 * A private service manager for a test: systemd, which starts services with their
 * real sandboxes as on a Debian machine, whether or not it runs this machine.
 *
 * It is a user instance of root, with its own control group and a mount namespace
 * with its own `/run`. Its services see the machine's processes, as those of the
 * system instance do.
 *
 * It needs root, and Debian's packages systemd and util-linux.
 *
 * @module
 */

const SYSTEMD = "/lib/systemd/systemd";

/** The directory from which rcap runs. */
const CHECKOUT = new URL("../..", import.meta.url).pathname;

/** How long anything may take on a busy machine, in milliseconds. */
const PATIENCE_MS = 60_000;
const POLL_MS = 50;

/**
 * Becomes systemd: `sh -c SCRIPT sh GROUP UNITS`. The control group is of version
 * 2, which the kernel has even if it is not mounted.
 */
const START = `
set -eu
mount -t tmpfs -o mode=755 none /run
mkdir -p /run/systemd/system /run/group
mount -t cgroup2 none /run/group
mkdir "/run/group/$1"
echo $$ > "/run/group/$1/cgroup.procs"
export XDG_RUNTIME_DIR=/run SYSTEMD_UNIT_PATH="$2"
export SYSTEMD_GENERATOR_PATH= SYSTEMD_ENVIRONMENT_GENERATOR_PATH=
export SYSTEMD_LOG_TARGET=console
exec unshare --cgroup sh -c '
  umount /run/group
  mount -t tmpfs none /sys/fs/cgroup
  mount -t cgroup2 none /sys/fs/cgroup
  exec "$0" --user --unit=ready.target
' ${SYSTEMD}
`;

/** Ends the processes of a control group and removes it: `sh -c SCRIPT sh GROUP`. */
const CLEAN = `
mount -t tmpfs none /run
mkdir /run/group
mount -t cgroup2 none /run/group
cd "/run/group/$1" || exit 0
for i in 1 2 3 4 5 6 7 8 9 10; do
  find . -name cgroup.procs -exec cat {} + | xargs -r kill -KILL
  find . -depth -type d ! -name . -exec rmdir {} + 2>/dev/null
  rmdir "/run/group/$1" 2>/dev/null && exit 0
  sleep 0.2
done
echo "processes are left in control group $1" >&2
exit 1
`;

/** The units that services refer to by default, and the unit that ends systemd. */
const UNITS = {
  "basic.target": "",
  "ready.target": "",
  // Services are stopped before it.
  "shutdown.target": "",
  "exit.target": "Requires=systemd-exit.service\n",
  "systemd-exit.service": `Requires=shutdown.target
After=shutdown.target
SuccessAction=exit-force
[Service]
Slice=-.slice
`,
};

/** A running systemd; disposing stops its services and ends it. */
export class ServiceManager implements AsyncDisposable {
  readonly #held = new AsyncDisposableStack();
  /**
   * A folder for the test's files, to which services may write before they are
   * confined.
   */
  readonly folder: string;
  readonly #process: Deno.ChildProcess;
  #hasEnded = false;

  private constructor() {
    const group = `rcap-test-${crypto.randomUUID()}`;
    // Not in /tmp, because services have their own /tmp.
    this.folder = Deno.makeTempDirSync({ dir: "/var/lib", prefix: group });
    this.#held.defer(() => Deno.remove(this.folder, { recursive: true }));
    Deno.mkdirSync(this.#units);
    for (const [name, settings] of Object.entries(UNITS)) {
      this.#write(name, `[Unit]\nDefaultDependencies=no\n${settings}`);
    }
    this.#process = new Deno.Command("unshare", {
      args: ["--mount", "sh", "-c", START, "sh", group, this.#units],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
      clearEnv: true,
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
    }).spawn();
    this.#held.defer(async () => {
      const { code, stderr } = await run(
        ["unshare", "--mount", "sh", "-c", CLEAN, "sh", group],
      );
      if (code !== 0) throw new Error(stderr);
    });
    this.#complaints = this.#process.stderr.text();
    const status = this.#process.status.finally(() => this.#hasEnded = true);
    this.#held.defer(async () => {
      // systemd stops its services before it ends.
      if (!this.#hasEnded) this.#process.kill("SIGTERM");
      const timer = setTimeout(
        () => this.#process.kill("SIGKILL"),
        PATIENCE_MS,
      );
      await status;
      clearTimeout(timer);
      await this.#complaints;
    });
  }

  readonly #complaints: Promise<string>;

  /** Starts systemd. */
  static async start(): Promise<ServiceManager> {
    await requireSystemd();
    await using cleanup = new AsyncDisposableStack();
    const manager = cleanup.use(new ServiceManager());
    await manager.#started();
    cleanup.move();
    return manager;
  }

  async #started(): Promise<void> {
    await this.#until(async () => {
      if (this.#hasEnded) {
        throw new Error(`systemd has ended: ${await this.#complaints}`);
      }
      const { stdout } = await this.systemctl("is-active", "ready.target");
      return stdout === "active";
    }, () => "systemd to start");
  }

  async #until(
    condition: () => Promise<boolean>,
    what: () => string,
  ): Promise<void> {
    const end = performance.now() + PATIENCE_MS;
    while (!await condition()) {
      if (performance.now() > end) throw new Error(`waited for ${what()}`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /**
   * Installs a service or replaces it.
   *
   * @param name as in `rcap.service`.
   * @param dropIn settings that are added to it or override it.
   */
  async install(name: string, unit: string, dropIn?: string): Promise<void> {
    this.#write(name, unit);
    Deno.mkdirSync(`${this.#units}/${name}.d`, { recursive: true });
    const isInTmp = /^(\/var)?\/tmp\//.test(CHECKOUT);
    if (isInTmp && `${unit}${dropIn}`.includes(CHECKOUT)) {
      // The service could not see it: PrivateTmp=.
      this.#write(
        `${name}.d/checkout.conf`,
        `[Service]\nBindReadOnlyPaths=${CHECKOUT}\n`,
      );
    }
    if (dropIn !== undefined) this.#write(`${name}.d/test.conf`, dropIn);
    await this.systemctl("daemon-reload");
  }

  /** Runs systemctl(1). */
  async systemctl(...args: string[]): Promise<Output> {
    return await this.run(["systemctl", "--user", ...args]);
  }

  /** A property of a service. */
  async property(service: string, name: string): Promise<string> {
    const { stdout } = await this.systemctl(
      "show",
      "--value",
      `--property=${name}`,
      service,
    );
    return stdout;
  }

  /** Waits until a property of a service has a value. */
  async untilProperty(
    service: string,
    name: string,
    value: string,
  ): Promise<void> {
    let last = "";
    await this.#until(
      async () => (last = await this.property(service, name)) === value,
      () => `${name} of ${service} to be ${value}, not ${last}`,
    );
  }

  /** Runs a program in the mount namespace of the services. */
  async run(command: string[]): Promise<Output> {
    const target = `--target=${this.#process.pid}`;
    return await run([
      "nsenter",
      target,
      "--mount",
      "env",
      "XDG_RUNTIME_DIR=/run",
      ...command,
    ]);
  }

  get #units(): string {
    return `${this.folder}/units`;
  }

  #write(name: string, text: string): void {
    Deno.writeTextFileSync(`${this.#units}/${name}`, text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#held.disposeAsync();
  }
}

/** The trimmed output of a program, and how it ended. */
export interface Output {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a program. */
export async function run([command, ...args]: string[]): Promise<Output> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args,
    env: { LC_ALL: "C", SYSTEMD_COLORS: "0", SYSTEMD_PAGER: "" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return {
    code,
    stdout: decoder.decode(stdout).trim(),
    stderr: decoder.decode(stderr).trim(),
  };
}

/** Installs systemd if it is missing, as in container images. */
export async function requireSystemd(): Promise<void> {
  try {
    Deno.statSync(SYSTEMD);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    await run(["apt-get", "--quiet", "update"]);
    const { code, stderr } = await run(
      ["apt-get", "--quiet", "--yes", "--no-install-recommends"]
        .concat("install", "systemd"),
    );
    if (code !== 0) {
      throw new Error(`these tests need Debian's package systemd: ${stderr}`);
    }
  }
}
