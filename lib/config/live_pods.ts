/**
 * The caps of the pods of this node, as long as the daemon watches them.
 *
 * @module
 */

import type { KubernetesState } from "../kubernetes/annotated_pod.ts";
import { ownApiServer } from "../kubernetes/api_server.ts";
import { MOST_PODS, PodWatch } from "../kubernetes/pod_watch.ts";
import { systemClock } from "../platform/clock.ts";
import type { FileCalls } from "../platform/directory.ts";
import type { Log } from "../platform/output.ts";
import type { CapConfig } from "./config.ts";
import { podCaps } from "./pod_caps.ts";

/** How many wrong annotations are reported, so that users cannot fill logs and the state. */
const MOST_PROBLEMS = 20;

/** The time in which no more than that many warnings are logged, in milliseconds. */
const LOG_INTERVAL = 60_000;

/** How long a single scan waits for the API server, in milliseconds. */
const PATIENCE = 10_000;

/** The caps that annotations of pods ask for. */
export class LivePods implements Disposable {
  readonly #held = new DisposableStack();
  readonly #watch: PodWatch;
  readonly #log: Log;
  #haveChanged = false;
  #problems: readonly string[] = [];
  /** The warnings since a moment. */
  #logged = { since: -Infinity, count: 0 };

  /**
   * Begins to watch.
   *
   * @throws UsageError if this is not a pod.
   */
  constructor(
    { files }: { files: FileCalls },
    { log, onChange }: { log: Log; onChange: () => void },
  ) {
    this.#log = log;
    const server = this.#held.use(ownApiServer(files));
    this.#watch = this.#held.use(
      new PodWatch({
        server,
        clock: systemClock,
        log,
        onChange: () => {
          this.#haveChanged = true;
          onChange();
        },
      }),
    );
  }

  /** Whether there are changes that {@linkcode caps} has not returned. */
  get haveChanged(): boolean {
    return this.#haveChanged;
  }

  /**
   * The caps that are known; logs what is wrong with others.
   *
   * @param totalMemory of the machine, in bytes.
   */
  caps(totalMemory: number): readonly CapConfig[] {
    this.#haveChanged = false;
    const { pods, leftOut } = this.#watch;
    const { caps, problems } = podCaps(pods, totalMemory);
    const all = leftOut > 0
      ? [
        `${leftOut} pods have no cap by their annotations: ${MOST_PODS} others of this node have one`,
        ...problems,
      ]
      : problems;
    const shown = all.slice(0, MOST_PROBLEMS);
    if (all.length > shown.length) {
      shown.push(
        `${all.length - shown.length} more pods have wrong annotations`,
      );
    }
    for (const problem of shown) {
      if (!this.#problems.includes(problem)) this.#warn(problem);
    }
    this.#problems = shown;
    return caps;
  }

  #warn(problem: string): void {
    const now = systemClock.now();
    if (now - this.#logged.since >= LOG_INTERVAL) {
      this.#logged = { since: now, count: 0 };
    }
    const count = ++this.#logged.count;
    if (count <= MOST_PROBLEMS) this.#log.warn(problem);
    if (count === MOST_PROBLEMS) {
      this.#log.warn(
        "other wrong annotations of pods are not logged within this minute; rcap stat shows them",
      );
    }
  }

  get state(): KubernetesState {
    return { ...this.#watch.state, annotations: this.#problems };
  }

  /** Waits until the pods were listed, or the API server takes too long. */
  async untilListed(signal: AbortSignal): Promise<void> {
    await this.#watch.untilListed(PATIENCE, signal);
  }

  [Symbol.dispose](): void {
    this.#held[Symbol.dispose]();
  }
}
