/**
 * The configuration of a running daemon: its files, the caps that the system keeps for
 * its projects, and those of pods by their annotations. All are read again when they
 * change.
 *
 * @module
 */

import { type NameLookup, Users } from "../collection/users.ts";
import type { OperatingSystem } from "../platform/operating_system.ts";
import type { Log } from "../platform/output.ts";
import type { ProjectCap, ProjectCapSource } from "../platform/platform.ts";
import { UsageError } from "../errors.ts";
import type { KubernetesState } from "../kubernetes/annotated_pod.ts";
import {
  type CapConfig,
  ConfigError,
  type ConfigProblem,
  type ConfigReading,
  type DaemonConfig,
  describeProblem,
  fingerprint,
  readConfig,
} from "./config.ts";
import type { ConfigPaths } from "./config_files.ts";
import type { LivePods } from "./live_pods.ts";
import { besideProjectCaps } from "./project_caps.ts";

/** The result of a reload. */
export interface Reloaded {
  /** `undefined` if there are problems. */
  readonly config?: DaemonConfig;
  /** One line each. */
  readonly problems: readonly string[];
  /** Whether all problems are temporary, so that it may be valid. */
  readonly isPassing?: boolean;
  /** Whether only caps of pods have changed, which users do as often as they like. */
  readonly isOfPods?: boolean;
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
export class LiveConfig implements Disposable {
  readonly #paths: ConfigPaths;
  readonly #log: Log;
  readonly #source: ProjectCapSource | undefined;
  readonly #system: ConfigSystem;
  readonly #users: Users;
  #projects: readonly ProjectCap[] = [];
  /** What the files said when they were valid last. */
  #valid: DaemonConfig | undefined;
  /** The pods that are watched, while the configuration wants that. */
  #pods: LivePods | undefined;
  #fingerprint = "";

  /** Called when caps of pods have changed, which a reload then returns. */
  onChange: () => void = () => {};

  constructor(paths: ConfigPaths, system: ConfigSystem, log: Log) {
    this.#paths = paths;
    this.#system = system;
    this.#log = log;
    this.#users = new Users(system);
    this.#source = system.projectCaps?.();
  }

  /**
   * @param signal aborts the loading.
   * @param options `awaitsPods` waits for a while until it is known which pods have caps,
   * if the configuration wants that.
   * @throws ConfigError if it is invalid.
   */
  async load(
    signal?: AbortSignal,
    { awaitsPods }: { awaitsPods?: boolean } = {},
  ): Promise<DaemonConfig> {
    this.#readProjects();
    const { config, problems, isPassing } = await this.#read({
      signal,
      awaitsPods,
    });
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
    const hasNewCaps = hasNewProjects || this.#pods?.haveChanged;
    if (onlyIfChanged && !hasNewCaps && !hasChanged) return undefined;
    const isOfPods = onlyIfChanged && !hasNewProjects && !hasChanged;
    const { config, problems, isPassing } = await this.#read({ isOfPods });
    return {
      config,
      problems: problems.map(describeProblem),
      isPassing,
      isOfPods,
    };
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

  /** @param options `isOfPods` if nothing else has changed: then warnings are not told again. */
  async #read(
    { signal = new AbortController().signal, isOfPods, awaitsPods }: {
      signal?: AbortSignal;
      isOfPods?: boolean;
      awaitsPods?: boolean;
    },
  ): Promise<{
    config?: DaemonConfig;
    problems: readonly ConfigProblem[];
    isPassing?: boolean;
  }> {
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
    if (!isOfPods) {
      for (const message of reading.oldUsers) this.#log.warn(message);
      for (const warning of reading.warnings) {
        this.#log.warn(describeProblem(warning));
      }
    }
    if (config) {
      const problem = await this.#watchPods(config, reading.settings);
      if (problem) return { problems: [problem] };
      this.#valid = config;
      if (awaitsPods) await this.#pods?.untilListed(signal);
    }
    // Files that are not valid keep no pod from its cap.
    const base = config ?? (this.#pods?.haveChanged ? this.#valid : undefined);
    if (!base) return { problems, isPassing };
    const caps = [
      ...this.#withProjects(base.caps),
      ...this.#pods?.caps(totalMemory) ?? [],
    ];
    return { config: { ...base, caps }, problems, isPassing };
  }

  #withProjects(configured: readonly CapConfig[]): readonly CapConfig[] {
    if (!this.#source) return configured;
    const { path } = this.#source;
    const { caps, messages } = besideProjectCaps(configured, {
      projects: this.#projects,
      path,
    });
    for (const message of messages) this.#log.info(message);
    return caps;
  }

  /**
   * Begins to watch pods, or ends it, as the configuration says. Nothing of it is loaded
   * before.
   *
   * @returns why that is not possible.
   */
  async #watchPods(
    { kubernetes }: DaemonConfig,
    settings: ConfigReading["settings"],
  ): Promise<ConfigProblem | undefined> {
    if (!kubernetes) {
      this.#pods?.[Symbol.dispose]();
      this.#pods = undefined;
      return undefined;
    }
    if (this.#pods) return undefined;
    const { LivePods } = await import("./live_pods.ts");
    try {
      this.#pods = new LivePods(this.#system, {
        log: this.#log,
        onChange: () => this.onChange(),
      });
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      return {
        file: settings.get("kubernetes")?.at(-1) ?? this.#paths.file,
        line: 0,
        message: error.problem,
        suggestion: error.remedy ?? null,
      };
    }
  }

  /** What the watch of pods reports; null without one. */
  get kubernetes(): KubernetesState | null {
    return this.#pods?.state ?? null;
  }

  [Symbol.dispose](): void {
    this.#pods?.[Symbol.dispose]();
  }
}
