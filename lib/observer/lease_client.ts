/**
 * A command's connection to the daemon that lends it references.
 *
 * @module
 */

import type { ProcessId } from "../platform/platform.ts";
import {
  type Answer,
  ANSWERS,
  encodeMessage,
  messagesOf,
  type Request,
} from "./lease_protocol.ts";
import { keyOf } from "./reset_rights.ts";

/** What becomes of leases without being asked for. */
export interface LeaseEvents {
  /** The lease of a process has lasted too long. */
  onOver(id: ProcessId): void;
  /** The daemon has closed the connection, or has ended. */
  onEnd(client: LeaseClient): void;
}

/** A connection to a daemon; disposing ends its leases. */
export class LeaseClient implements Disposable {
  readonly #stream: Deno.UnixConn;
  readonly #events: LeaseEvents;
  readonly #asked = new Map<string, (answer: Answer | undefined) => void>();
  #hasEnded = false;

  private constructor(stream: Deno.UnixConn, events: LeaseEvents) {
    this.#stream = stream;
    this.#events = events;
    this.#listen();
  }

  /** Connects to the socket of a daemon; `undefined` if nobody listens there. */
  static async connect(
    path: string,
    events: LeaseEvents,
  ): Promise<LeaseClient | undefined> {
    try {
      const stream = await Deno.connect({ transport: "unix", path });
      return new LeaseClient(stream, events);
    } catch (error) {
      if (
        error instanceof Deno.errors.NotFound ||
        error instanceof Deno.errors.ConnectionRefused
      ) return undefined;
      throw error;
    }
  }

  async #listen(): Promise<void> {
    for await (const { word, id } of messagesOf(this.#stream, ANSWERS)) {
      if (word === "over") this.#events.onOver(id);
      else this.#asked.get(keyOf(id))?.(word);
    }
    this.#hasEnded = true;
    for (const answer of this.#asked.values()) answer(undefined);
    this.#events.onEnd(this);
  }

  /**
   * Asks for the references of a process to be reset, and lent.
   *
   * @returns `undefined` if the connection ends first, or the signal is aborted.
   */
  async begin(
    id: ProcessId,
    signal: AbortSignal,
  ): Promise<Answer | undefined> {
    const key = keyOf(id);
    const { promise, resolve } = Promise.withResolvers<Answer | undefined>();
    const abort = () => resolve(undefined);
    signal.addEventListener("abort", abort, { once: true });
    this.#asked.set(key, resolve);
    try {
      if (signal.aborted || !await this.#send("begin", id)) return undefined;
      return await promise;
    } finally {
      this.#asked.delete(key);
      signal.removeEventListener("abort", abort);
    }
  }

  /** Ends the lease of a process. */
  end(id: ProcessId): void {
    this.#send("end", id);
  }

  /** @returns whether it was sent. */
  async #send(word: Request, id: ProcessId): Promise<boolean> {
    if (this.#hasEnded) return false;
    try {
      // Shorter than any buffer of a socket, so it is written at once or not at all.
      await this.#stream.write(encodeMessage({ word, id }));
      return true;
    } catch {
      return false;
    }
  }

  [Symbol.dispose](): void {
    try {
      this.#stream.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }
}
