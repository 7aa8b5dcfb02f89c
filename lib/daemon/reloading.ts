/**
 * Reading the configuration again, beside the daemon's loop.
 *
 * @module
 */

import { messageOf } from "../errors.ts";
import type { Reloaded } from "../config/live_config.ts";
import type { Log } from "../platform/output.ts";

/** What reading the configuration again needs. */
export interface ReloadingOptions {
  /** Reads it; as `DaemonSurroundings.reload`. */
  readonly reload: (onlyIfChanged: boolean) => Promise<Reloaded | undefined>;
  readonly log: Log;
  /** Called when a reading has ended. */
  readonly onEnd: () => void;
}

/** Reads the configuration again, one reading at a time. */
export class Reloading {
  readonly #options: ReloadingOptions;
  #isAsked = false;
  #isReading = false;
  /** What the last reading came to, until it is taken over. */
  #reading: Reloaded | undefined;

  constructor(options: ReloadingOptions) {
    this.#options = options;
  }

  /** Asks for a reading, which {@linkcode take} begins. */
  ask(): void {
    this.#isAsked = true;
  }

  /**
   * Begins a reading unless one goes on.
   *
   * @param onlyIfChanged does nothing when no file has changed.
   */
  begin(onlyIfChanged: boolean): void {
    if (this.#isReading) return;
    this.#isReading = true;
    void this.#read(onlyIfChanged);
  }

  async #read(onlyIfChanged: boolean): Promise<void> {
    const { reload, log, onEnd } = this.#options;
    try {
      this.#reading = await reload(onlyIfChanged);
    } catch (error) {
      const message = messageOf(error);
      log.warn(`the configuration cannot be read: ${message}`);
    } finally {
      this.#isReading = false;
      onEnd();
    }
  }

  /**
   * Begins a reading that was asked for, and takes what one has come to.
   *
   * @returns `undefined` when there is nothing to take over.
   */
  take(): Reloaded | undefined {
    const reading = this.#reading;
    this.#reading = undefined;
    if (this.#isAsked) {
      // Whoever asks while the files are read may have changed them meanwhile.
      this.#isAsked = this.#isReading;
      this.begin(false);
    }
    return reading;
  }
}
