/**
 * Knows the pods of a node that have annotations of rcap: lists them, and then watches
 * what changes.
 *
 * While the API server does not answer, what was known last stays known.
 *
 * @module
 */

import { messageOf, RcapError } from "../errors.ts";
import type { Clock } from "../platform/clock.ts";
import type { Log } from "../platform/output.ts";
import { countOf } from "../report/units.ts";
import { type AnnotatedPod, keyOf, type WatchState } from "./annotated_pod.ts";
import { type ApiServer, Refused } from "./api_server.ts";
import { linesOf, textUpTo, TOO_LONG } from "./lines.ts";
import {
  ACCEPT,
  MalformedAnswer,
  parseEvent,
  parsePage,
  type PodPage,
} from "./protocol.ts";

/** More pods than a node can have: https://kubernetes.io/docs/setup/best-practices/cluster-large/. */
export const MOST_PODS = 1000;

/**
 * The most bytes of an event, and of a page. A user can make an object of up to 1.5 MiB in
 * etcd (`--max-request-bytes`), and of six times as much as JSON: the API server writes `<`
 * as `\u003c`.
 */
const LARGEST_ANSWER = 10 << 20;

/** How many pods a page has: fewer each time one was too large. One pod always fits. */
const PAGES = [500, 20, 1] as const;

/** How long to wait after a failure, in milliseconds: twice as long each time, up to a limit. */
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 60_000;

/** How long an answer may take to begin, and a page to end, in milliseconds. */
const PATIENCE = 30_000;

/** How long a watch lasts at least and at most, in seconds, so that not all nodes begin at once. */
const WATCH_SECONDS = { least: 300, most: 600 };

/** A watch that ends sooner without an event has failed, in milliseconds. */
const SHORT_WATCH = 5000;

/**
 * Changes within this time are announced together, in milliseconds: users decide how often
 * annotations change.
 */
const GATHERING = 5000;

/** HTTP: Gone. The version to go on from is too old for the server. */
const GONE = 410;

/** What a watch needs. */
export interface PodWatchOptions {
  readonly server: ApiServer;
  readonly clock: Clock;
  readonly log: Log;
  /** Called when {@linkcode PodWatch.pods} has changed. */
  readonly onChange: () => void;
  /** Returns a number from 0 to 1, by which pauses differ between nodes. */
  readonly random?: () => number;
}

/** Watches the annotated pods of a node from its making until it is disposed of. */
export class PodWatch implements Disposable {
  readonly #options: PodWatchOptions;
  readonly #random: () => number;
  readonly #end = new AbortController();
  readonly #listed = Promise.withResolvers<void>();
  #pods = new Map<string, AnnotatedPod>();
  /** Where to go on; `undefined` if the pods are to be listed first. */
  #version: string | undefined;
  #hasListed = false;
  /** Which of {@linkcode PAGES} is small enough. */
  #pages = 0;
  #isWatching = false;
  #heardAt: number | null = null;
  #problem: string | null = null;
  #isGathering = false;
  #failures = 0;

  constructor(options: PodWatchOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
    void this.#run();
  }

  /** The pods that have annotations of rcap, in the order of their names. */
  get pods(): readonly AnnotatedPod[] {
    return [...this.#pods].sort(([a], [b]) => a < b ? -1 : 1)
      .slice(0, MOST_PODS).map(([, pod]) => pod);
  }

  /** How many of them are left out, because there are too many. */
  get leftOut(): number {
    return Math.max(0, this.#pods.size - MOST_PODS);
  }

  get state(): WatchState {
    return {
      node: this.#options.server.node,
      pods: this.#pods.size,
      isWatching: this.#isWatching,
      heardAt: this.#heardAt,
      problem: this.#problem,
    };
  }

  /** Waits until the pods were listed once, for some milliseconds at most. */
  async untilListed(milliseconds: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const done = new AbortController();
    const either = AbortSignal.any([signal, done.signal]);
    await Promise.race([
      this.#listed.promise,
      clock.sleep(milliseconds, either),
    ]);
    done.abort();
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#end;
    while (!signal.aborted) {
      const begun = clock.now();
      try {
        if (this.#version === undefined) await this.#list();
        const events = await this.#watch();
        const isShort = events === 0 && clock.now() - begun < SHORT_WATCH;
        this.#failures = isShort ? this.#failures + 1 : 0;
      } catch (error) {
        if (signal.aborted) break;
        this.#failed(error);
      }
      await clock.sleep(this.#pause(), signal);
    }
  }

  /** Between half and all of a time that doubles with every failure, in milliseconds. */
  #pause(): number {
    const doublings = Math.max(0, Math.min(this.#failures - 1, 16));
    const most = Math.min(FIRST_PAUSE * 2 ** doublings, LONGEST_PAUSE);
    return most * (0.5 + this.#random() / 2);
  }

  #failed(error: unknown): void {
    const { log } = this.#options;
    this.#failures++;
    if (error instanceof Expired) {
      log.debug("Kubernetes: the version of the watch has expired; listing");
      this.#version = undefined;
      return;
    }
    // An event was lost.
    if (error instanceof MalformedAnswer) this.#version = undefined;
    const problem = messageOf(error);
    if (problem !== this.#problem) {
      log.warn(
        `the API server of Kubernetes: ${problem}; ${
          this.#hasListed
            ? `the caps of ${
              countOf(this.#pods.size, "pod")
            } stay as they were last known`
            : "no cap of a pod is known yet"
        }, and rcap tries again`,
      );
    }
    this.#isWatching = false;
    this.#problem = problem;
  }

  #succeeded(): void {
    this.#heardAt = this.#options.clock.wallTime();
  }

  /** Lists the pods, a page at a time. */
  async #list(): Promise<void> {
    const found = new Map<string, AnnotatedPod>();
    let page: PodPage | typeof TOO_LONG | undefined;
    while (page === undefined || page === TOO_LONG || page.continue !== "") {
      page = await this.#page(typeof page === "object" ? page.continue : "");
      if (page === TOO_LONG) {
        if (this.#pages === PAGES.length - 1) {
          throw new RcapError(
            `it answers with more than ${LARGEST_ANSWER >> 20} MiB about a pod`,
          );
        }
        this.#pages++;
        found.clear();
        continue;
      }
      for (const pod of page.pods) note(found, pod);
    }
    const before = this.#pods;
    const isFirst = !this.#hasListed;
    this.#pods = found;
    this.#version = page.resourceVersion;
    this.#hasListed = true;
    this.#listed.resolve();
    if (!areSame(before, found)) this.#announce(isFirst ? 0 : GATHERING);
  }

  /**
   * Asks for a page. The first list of all may be what the server has in its cache, which
   * spares its database the lists of all nodes; later ones must not be older than what is
   * known.
   */
  async #page(next: string): Promise<PodPage | typeof TOO_LONG> {
    const isFirst = !this.#hasListed && this.#pages === 0;
    using patience = this.#patience();
    try {
      const text = await textUpTo(
        await this.#get({
          limit: `${PAGES[this.#pages]}`,
          ...next !== "" && { continue: next },
          // With `continue`, the version is that of the list.
          ...isFirst && next === "" && { resourceVersion: "0" },
        }, { accept: ACCEPT.list, signal: patience.signal }),
        LARGEST_ANSWER,
      );
      this.#succeeded();
      return text === TOO_LONG ? text : parsePage(text);
    } catch (error) {
      throw patience.reason ?? error;
    }
  }

  /**
   * Watches until the server ends the answer.
   *
   * @returns how many events there were.
   */
  async #watch(): Promise<number> {
    const { least, most } = WATCH_SECONDS;
    const seconds = Math.round(least + this.#random() * (most - least));
    let events = 0;
    using patience = this.#patience();
    try {
      const body = await this.#get({
        watch: "1",
        allowWatchBookmarks: "true",
        resourceVersion: this.#version ?? "",
        timeoutSeconds: `${seconds}`,
      }, { accept: ACCEPT.watch, signal: patience.signal });
      // The server ends it in time, unless the connection is dead.
      patience.extend(seconds * 1000 + PATIENCE);
      this.#watching();
      const lines = linesOf(body, LARGEST_ANSWER, () => this.#succeeded());
      for await (const line of lines) {
        if (line === TOO_LONG) {
          throw new MalformedAnswer(
            `its answer has a line of more than ${LARGEST_ANSWER >> 20} MiB`,
          );
        }
        this.#take(line);
        events++;
      }
    } catch (error) {
      throw patience.reason ?? error;
    }
    return events;
  }

  #watching(): void {
    this.#succeeded();
    if (this.#problem !== null) {
      this.#options.log.info("the API server of Kubernetes answers again");
    }
    this.#isWatching = true;
    this.#problem = null;
  }

  #take(line: string): void {
    const event = parseEvent(line);
    if (event.type === "ERROR") {
      if (event.code === GONE) throw new Expired();
      throw new MalformedAnswer(`it ends the watch: ${event.message}`);
    }
    this.#version = event.resourceVersion;
    if (event.type === "BOOKMARK") return;
    const before = this.#pods.get(keyOf(event.pod));
    if (event.type === "DELETED") this.#pods.delete(keyOf(event.pod));
    else note(this.#pods, event.pod);
    if (!isSame(before, this.#pods.get(keyOf(event.pod)))) this.#announce();
  }

  async #get(
    query: Readonly<Record<string, string>>,
    options: { accept: string; signal: AbortSignal },
  ): Promise<ReadableStream<Uint8Array>> {
    const { server } = this.#options;
    const all = new URLSearchParams({
      // Pods that have ended stay for a while, and have no process.
      fieldSelector:
        `spec.nodeName=${server.node},status.phase!=Succeeded,status.phase!=Failed`,
      ...query,
    });
    try {
      return await server.get(`/api/v1/pods?${all}`, options);
    } catch (error) {
      const isGone = error instanceof Refused && error.status === GONE;
      throw isGone ? new Expired() : error;
    }
  }

  /** A signal that is aborted in the end, or when an answer takes too long. */
  #patience() {
    const { clock } = this.#options;
    const over = new AbortController();
    const done = new AbortController();
    const end = () => over.abort(this.#end.signal.reason);
    this.#end.signal.addEventListener("abort", end, { once: true });
    let until = clock.now() + PATIENCE;
    let reason: RcapError | undefined;
    const wait = async () => {
      while (clock.now() < until && !done.signal.aborted) {
        await clock.sleep(until - clock.now(), done.signal);
      }
      if (done.signal.aborted) return;
      reason = new RcapError("it does not answer in time");
      over.abort(reason);
    };
    void wait();
    return {
      signal: over.signal,
      /** Why it was aborted, if an answer took too long. */
      get reason() {
        return reason;
      },
      extend: (milliseconds: number) => {
        until = clock.now() + milliseconds;
      },
      [Symbol.dispose]: () => {
        done.abort();
        this.#end.signal.removeEventListener("abort", end);
        // Ends the answer if it was not read to its end.
        over.abort();
      },
    };
  }

  #announce(wait = GATHERING): void {
    if (this.#isGathering) return;
    this.#isGathering = true;
    const { clock, onChange } = this.#options;
    void clock.sleep(wait, this.#end.signal).then(() => {
      this.#isGathering = false;
      if (!this.#end.signal.aborted) onChange();
    });
  }

  [Symbol.dispose](): void {
    this.#end.abort();
  }
}

/** The version to go on from is too old for the server, which wants a list first. */
class Expired extends RcapError {
  override name = "Expired";
}

/** Keeps a pod if it has annotations of rcap. */
function note(pods: Map<string, AnnotatedPod>, pod: AnnotatedPod): void {
  if (pod.annotations.size > 0) pods.set(keyOf(pod), pod);
  else pods.delete(keyOf(pod));
}

function areSame(
  a: ReadonlyMap<string, AnnotatedPod>,
  b: ReadonlyMap<string, AnnotatedPod>,
): boolean {
  return a.size === b.size &&
    [...a].every(([key, pod]) => isSame(pod, b.get(key)));
}

function isSame(
  a: AnnotatedPod | undefined,
  b: AnnotatedPod | undefined,
): boolean {
  if (!a || !b) return a === b;
  return a.annotations.size === b.annotations.size &&
    [...a.annotations].every(([key, value]) =>
      b.annotations.get(key) === value
    );
}
