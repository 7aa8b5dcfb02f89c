/**
 * Reads the configuration again, beside the daemon's loop.
 *
 * @module
 */

import { messageOf } from "../errors.ts";
import type { Reloaded } from "../config/live_config.ts";
import type { Log } from "../platform/output.ts";

/** What {@linkcode Reloading} needs. */
export interface ReloadingOptions {
  /** Reads the configuration, as `DaemonSurroundings.reload` does. */
  readonly reload: (onlyIfChanged: boolean) => Promise<Reloaded | undefined>;
  readonly log: Log;
  /** Called when a read has ended. */
  readonly onEnd: () => void;
}

/** Reads the configuration again, one read at a time. */
export class Reloading {
  readonly #options: ReloadingOptions;
  #isAsked = false;
  /** Whether to look for changes again once the running read has ended. */
  #isToLook = false;
  #isReading = false;
  /** The result of the last read, until {@linkcode take} returns it. */
  #result: Reloaded | undefined;

  constructor(options: ReloadingOptions) {
    this.#options = options;
  }

  /** Requests a read, which {@linkcode take} begins. */
  ask(): void {
    this.#isAsked = true;
  }

  /**
   * Begins a read, after one that is running.
   *
   * @param onlyIfChanged does nothing if no file has changed.
   */
  begin(onlyIfChanged: boolean): void {
    if (this.#isReading) {
      this.#isToLook = true;
      return;
    }
    this.#isReading = true;
    void this.#read(onlyIfChanged);
  }

  async #read(onlyIfChanged: boolean): Promise<void> {
    const { reload, log, onEnd } = this.#options;
    try {
      this.#result = await reload(onlyIfChanged);
    } catch (error) {
      const message = messageOf(error);
      log.warn(`the configuration cannot be read: ${message}`);
    } finally {
      this.#isReading = false;
      onEnd();
    }
  }

  /**
   * Begins the read that was requested, if any, and returns the result of the last one.
   *
   * @returns `undefined` if there is no result that was not returned before.
   */
  take(): Reloaded | undefined {
    const result = this.#result;
    this.#result = undefined;
    // The files may have changed during a running read: read them again after it.
    const isDue = this.#isAsked || this.#isToLook;
    if (isDue && !this.#isReading) {
      const onlyIfChanged = !this.#isAsked;
      this.#isAsked = this.#isToLook = false;
      this.begin(onlyIfChanged);
    }
    return result;
  }
}
