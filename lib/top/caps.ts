/**
 * The caps of a running daemon, for `rcap top`.
 *
 * @module
 */

import { matcher } from "../collection/members.ts";
import type { Selector } from "../collection/selectors.ts";
import { Users } from "../collection/users.ts";
import { readConfig } from "../config/config.ts";
import type { ConfigPaths } from "../config/config_files.ts";
import { NotKnown, RcapError } from "../errors.ts";
import type { DaemonState } from "../group/state.ts";
import { keyOf } from "../observer/reset_rights.ts";
import type { OperatingSystem } from "../platform/operating_system.ts";
import type { Platform, ProcessEntry } from "../platform/platform.ts";
import { readState } from "../service/state_directory.ts";

/** What {@linkcode Caps} needs. */
export interface CapsOptions {
  readonly system: OperatingSystem;
  /** Aborts reading. */
  readonly signal: AbortSignal;
  /** Of the daemon. */
  readonly stateDirectory: string;
  /** The configuration of the daemon. */
  readonly config: ConfigPaths;
  /** Called with what is not known, in words for users. */
  readonly warn: (message: string) => void;
}

/**
 * The caps of a daemon, if one runs here, and which processes are under them: as the
 * daemon says, and by the configuration where it does not name all.
 */
export class Caps {
  readonly #options: CapsOptions;
  /** What the daemon said last; `undefined` if none is known to run. */
  state: DaemonState | undefined;
  #selectors: readonly { name: string; select: readonly Selector[] }[] = [];
  /** The configuration that the selectors are of. */
  #serial = -1;
  /** The cap of each process that the daemon names, by pid and start time. */
  #capOf = new Map<string, string>();

  constructor(options: CapsOptions) {
    this.#options = options;
  }

  /** Reads what the daemon says at the moment. */
  async read(): Promise<void> {
    const { system, signal, stateDirectory, config: paths, warn } =
      this.#options;
    try {
      this.state = readState(system, stateDirectory);
    } catch (error) {
      if (!(error instanceof RcapError)) throw error;
      this.state = undefined;
      return;
    }
    const { groups, configuration: { serial } } = this.state;
    this.#capOf = new Map(
      groups.flatMap(({ name, members }) =>
        members.map((one) => [keyOf(one), name] as const)
      ),
    );
    const namesAll = groups.every(({ processes, members }) =>
      processes === members.length
    );
    if (namesAll) {
      this.#selectors = [];
      this.#serial = -1;
      return;
    }
    if (serial === this.#serial) return;
    this.#serial = serial;
    try {
      const { totalMemory } = system.memory();
      const { config } = await readConfig(paths, {
        totalMemory,
        users: new Users(system),
        system,
        hasOtherCaps: true,
      }, signal);
      this.#selectors = config?.caps ?? [];
      if (config) return;
    } catch (error) {
      if (!(error instanceof RcapError)) throw error;
      this.#selectors = [];
    }
    warn(
      `which processes are under which cap is not known of all: the daemon names the first of each cap, and ${paths.file} cannot be read, or is not valid`,
    );
  }

  /** Returns the name of the cap that counts a process; `undefined` if none does. */
  async of(
    entry: ProcessEntry,
    all: readonly ProcessEntry[],
    platform: Platform,
  ): Promise<string | undefined> {
    if (!this.state) return undefined;
    const known = this.#capOf.get(keyOf(entry));
    if (known !== undefined) return known;
    for (const { name, select } of this.#selectors) {
      for (const selector of select) {
        try {
          if (await matcher(selector, all, platform).matches(entry)) {
            return name;
          }
        } catch (error) {
          if (!(error instanceof NotKnown)) throw error;
        }
      }
    }
    return undefined;
  }
}
