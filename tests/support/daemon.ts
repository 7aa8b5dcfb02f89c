/**
 * Runs the daemon as a user does, with its own configuration and state directory,
 * and reads its state.
 *
 * @module
 */

import { assert } from "@std/assert";
import type { PolicyName } from "../../lib/config/policy_names.ts";
import type { DaemonState, GroupState } from "../../lib/group/state.ts";
import { type Run, type RunOptions, startRcap } from "./rcap.ts";
import { isRunning, until } from "./workload.ts";

export interface DaemonOptions extends RunOptions {
  /** The configuration, in TOML. */
  config: string;
  /** Additional arguments of `rcap run`. */
  args?: string[];
  /** An existing place to use. By default one is made. */
  place?: Place;
}

/** A place for a daemon: its configuration and its state directory. */
export class Place implements Disposable {
  readonly folder: string;
  readonly config: string;
  readonly dropIns: string;
  readonly state: string;

  /** @param folder where to make it; by default a temporary folder. */
  constructor(folder?: string) {
    if (folder !== undefined) Deno.mkdirSync(folder);
    this.folder = folder ?? Deno.makeTempDirSync({ prefix: "rcap-daemon-" });
    this.config = `${this.folder}/rcap.toml`;
    this.dropIns = `${this.folder}/rcap.d`;
    this.state = `${this.folder}/state`;
    // Unprivileged users may read the state.
    Deno.chmodSync(this.folder, 0o755);
  }

  /** The directory for what is learnt. */
  get learnt(): string {
    return `${this.folder}/learnt`;
  }

  /** The arguments that name the state directory. */
  get stateArgs(): string[] {
    return ["--state-dir", this.state];
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder, { recursive: true });
  }
}

/** A running daemon; disposing kills it and removes its place. */
export class TestDaemon implements AsyncDisposable {
  readonly place: Place;
  readonly pid: number;
  /** Resolves when the daemon has ended. */
  readonly ended: Promise<Run>;
  readonly #ownsPlace: boolean;
  #hasEnded = false;

  private constructor(options: DaemonOptions) {
    const { config, args = [], place = new Place(), ...run } = options;
    this.place = place;
    this.#ownsPlace = options.place === undefined;
    Deno.writeTextFileSync(place.config, config);
    const running = startRcap(
      ["run", "--config", place.config, ...place.stateArgs].concat(
        ["--learnt-dir", place.learnt, ...args],
      ),
      run,
    );
    this.pid = running.child.pid;
    this.ended = running.end().finally(() => this.#hasEnded = true);
    // Callers that wait for it get the error; nobody has to wait.
    this.ended.catch(() => {});
  }

  /** Starts a daemon and waits until its first state can be read. */
  static async start(options: DaemonOptions): Promise<TestDaemon> {
    const daemon = TestDaemon.startOnly(options);
    await until(
      // A killed daemon may have left its state.
      () => daemon.#hasEnded || daemon.stateIfAny()?.pid === daemon.pid,
      "the daemon to write its state",
    );
    if (daemon.#hasEnded) {
      const { code, stderr } = await daemon.ended;
      await daemon[Symbol.asyncDispose]();
      throw new Error(`the daemon ended with ${code}: ${stderr}`);
    }
    return daemon;
  }

  /** Starts a daemon without waiting for its state. */
  static startOnly(options: DaemonOptions): TestDaemon {
    return new TestDaemon(options);
  }

  /** Its state; `undefined` if it has not written any yet. */
  stateIfAny(): DaemonState | undefined {
    try {
      return JSON.parse(
        Deno.readTextFileSync(`${this.place.state}/state.json`),
      );
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  }

  state(): DaemonState {
    const state = this.stateIfAny();
    assert(state, "the daemon has written its state");
    return state;
  }

  /** Its state of one group. */
  group(name: string): GroupState {
    const group = this.state().groups.find((one) => one.name === name);
    assert(group, `there is a group ${name}`);
    return group;
  }

  /** Waits until the state of a group satisfies a condition. */
  async untilGroup(
    name: string,
    condition: (group: GroupState) => boolean,
    what: string,
    timeout?: number,
  ): Promise<GroupState> {
    let last: GroupState | undefined;
    try {
      await until(
        () => {
          last = this.stateIfAny()?.groups.find((one) => one.name === name);
          return last !== undefined && condition(last);
        },
        what,
        timeout,
      );
    } catch (error) {
      throw new Error(
        `${error}; ${name} is ${JSON.stringify(last)}; the daemon ${
          this.#hasEnded ? `ended: ${(await this.ended).stderr}` : "runs"
        }`,
      );
    }
    return this.group(name);
  }

  /** The port of the one socket that it listens on: proc_net_tcp(5). */
  async listeningPort(): Promise<number> {
    let port: number | undefined;
    await until(() => {
      const inodes = new Set<string>();
      for (const { name } of Deno.readDirSync(`/proc/${this.pid}/fd`)) {
        try {
          const target = Deno.readLinkSync(`/proc/${this.pid}/fd/${name}`);
          const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
          if (inode) inodes.add(inode);
        } catch (error) {
          // The descriptor was closed meanwhile.
          if (!(error instanceof Deno.errors.NotFound)) throw error;
        }
      }
      for (const row of Deno.readTextFileSync("/proc/net/tcp").split("\n")) {
        const fields = row.trim().split(/\s+/);
        const isListening = fields[3] === "0A";
        if (isListening && inodes.has(fields[9])) {
          port = parseInt(fields[1].split(":")[1], 16);
        }
      }
      return port !== undefined;
    }, "the daemon to listen");
    return port ?? 0;
  }

  signal(signal: Deno.Signal): void {
    Deno.kill(this.pid, signal);
  }

  /** Stops it as a service manager does. */
  async stop(): Promise<Run> {
    this.signal("SIGTERM");
    return await this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#hasEnded && isRunning(this.pid)) this.signal("SIGKILL");
    await this.ended.catch(() => {});
    if (this.#ownsPlace) this.place[Symbol.dispose]();
  }
}

/** The configuration of a cap. */
export function cap(name: string, selectors: string[], maxRss: string): string {
  return `[[cap]]
name = "${name}"
select = ${JSON.stringify(selectors)}
max_rss = "${maxRss}"
`;
}

/** Short intervals for tests, and a policy. */
export function quicklyBy(policy: PolicyName): string {
  return `${QUICKLY}policy = "${policy}"\n`;
}

/** Short intervals for tests. */
export const QUICKLY = `[daemon]
sample_interval = "1s"
process_interval = "1s"
report_interval = "200ms"
config_interval = "500ms"
`;
