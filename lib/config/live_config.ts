/**
 * The configuration of a running daemon: its files, and the caps that the system
 * keeps for its projects. Both are read again when they change.
 *
 * @module
 */

import { type NameLookup, Users } from "../collection/users.ts";
import type { OperatingSystem } from "../platform/operating_system.ts";
import type { Log } from "../platform/output.ts";
import type { ProjectCap, ProjectCapSource } from "../platform/platform.ts";
import {
  ConfigError,
  type DaemonConfig,
  describeProblem,
  fingerprint,
  readConfig,
} from "./config.ts";
import type { ConfigPaths } from "./config_files.ts";
import { besideProjectCaps } from "./project_caps.ts";

/** The result of a reload. */
export interface Reloaded {
  /** `undefined` if there are problems. */
  readonly config?: DaemonConfig;
  /** One line each. */
  readonly problems: readonly string[];
  /** Whether all problems are temporary, so that it may be valid. */
  readonly isPassing?: boolean;
}

/** What a configuration is read from and for. */
export type ConfigSystem = Pick<
  OperatingSystem,
  | "files"
  | "defaultPolicy"
  | "memory"
  | "pagedataSources"
  | "projectCaps"
  | "whyNotReclaimable"
  | keyof NameLookup
>;

/** The configuration of a daemon. */
export class LiveConfig {
  readonly #paths: ConfigPaths;
  readonly #log: Log;
  readonly #source: ProjectCapSource | undefined;
  readonly #system: ConfigSystem;
  readonly #users: Users;
  #projects: readonly ProjectCap[] = [];
  #fingerprint = "";

  constructor(paths: ConfigPaths, system: ConfigSystem, log: Log) {
    this.#paths = paths;
    this.#system = system;
    this.#log = log;
    this.#users = new Users(system);
    this.#source = system.projectCaps?.();
  }

  /**
   * @param signal aborts the loading.
   * @throws ConfigError if it is invalid.
   */
  async load(signal?: AbortSignal): Promise<DaemonConfig> {
    this.#readProjects();
    const { config, problems, isPassing } = await this.#read(signal);
    if (!config) throw new ConfigError(problems, isPassing);
    return config;
  }

  /**
   * Reads the configuration again. May take as long as the name service, which is
   * asked only if there is something to read.
   *
   * @param onlyIfChanged returns `undefined` if no file has changed.
   */
  async reload(onlyIfChanged: boolean): Promise<Reloaded | undefined> {
    const hasNewProjects = this.#readProjects();
    const now = fingerprint(this.#paths, this.#system.files);
    // Files that cannot be read at the moment may be unchanged.
    const hasChanged = now !== undefined && now !== this.#fingerprint;
    if (onlyIfChanged && !hasNewProjects && !hasChanged) return undefined;
    const { config, problems, isPassing } = await this.#read();
    return { config, problems: problems.map(describeProblem), isPassing };
  }

  /** Reads the caps of projects; returns whether they may have changed. */
  #readProjects(): boolean {
    const read = this.#source?.changedCaps();
    if (!read) return false;
    for (const problem of read.problems) this.#log.warn(problem);
    // If they cannot be read, keep the earlier ones.
    this.#projects = read.caps ?? this.#projects;
    return true;
  }

  async #read(signal?: AbortSignal) {
    const { totalMemory, swapDisk } = this.#system.memory();
    const reading = await readConfig(this.#paths, {
      totalMemory,
      swapDisk,
      hasOtherCaps: this.#projects.length > 0,
      users: this.#users,
      system: this.#system,
    }, signal);
    const { config, problems, isPassing } = reading;
    // After a temporary problem, the next reload reads again even without a change.
    this.#fingerprint = isPassing ? "" : reading.fingerprint;
    for (const message of reading.oldUsers) this.#log.warn(message);
    for (const warning of reading.warnings) {
      this.#log.warn(describeProblem(warning));
    }
    if (!config || !this.#source) return { config, problems, isPassing };
    const { path } = this.#source;
    const { caps, messages } = besideProjectCaps(config.caps, {
      projects: this.#projects,
      path,
    });
    for (const message of messages) this.#log.info(message);
    return { config: { ...config, caps }, problems, isPassing };
  }
}
