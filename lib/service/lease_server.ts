/**
 * Lends references to commands: the daemon's end of `lib/observer/lease_protocol.ts`.
 *
 * Only root can connect: the socket is in a directory that nobody else may enter. Still,
 * neither many clients nor silent ones cost the daemon more than a few descriptors.
 *
 * @module
 */

import { messageOf } from "../errors.ts";
import {
  type Answer,
  encodeMessage,
  messagesOf,
  REQUESTS,
} from "../observer/lease_protocol.ts";
import { keyOf } from "../observer/reset_rights.ts";
import type { ProcessId } from "../platform/platform.ts";

/** Limits of what clients can do; times in milliseconds. */
export const LEASE_LIMITS = {
  clients: 16,
  /** How long a client may stay without a lease. */
  idleTime: 10_000,
  /** How long a lease lasts after it was begun, or begun again. */
  leaseTime: 5 * 60_000,
} as const;

/** How long to wait after a connection could not be accepted, in milliseconds. */
const RECOVERY = 250;

export interface LeaseServerOptions {
  /** The path of the socket, in a directory that only root may enter. */
  readonly path: string;
  /** Resets the references of a process for a client, and from then on no more. */
  readonly lend: (id: ProcessId) => Promise<Answer>;
  /** Called when a lease ends. */
  readonly takeBack: (id: ProcessId) => void;
  /** Called with a message if no client can connect for a while. */
  readonly warn: (message: string) => void;
  readonly limits?: Partial<Record<keyof typeof LEASE_LIMITS, number>>;
}

/** A running server; disposing ends all leases. */
export class LeaseServer implements AsyncDisposable {
  readonly #options: LeaseServerOptions;
  readonly #limits: Record<keyof typeof LEASE_LIMITS, number>;
  readonly #listener: Deno.UnixListener;
  /** Who borrows each process, by key. */
  readonly #borrowers = new Map<string, Client>();
  readonly #clients = new Map<Client, Promise<void>>();
  readonly #accepting: Promise<void>;
  #isEnding = false;
  #hasWarned = false;

  /** @throws the error of `Deno.listen` if it cannot listen. */
  constructor(options: LeaseServerOptions) {
    this.#options = options;
    this.#limits = { ...LEASE_LIMITS, ...options.limits };
    const { path } = options;
    this.#listener = Deno.listen({ transport: "unix", path });
    // To connect, one has to be allowed to write to it: unix(7).
    Deno.chmodSync(path, 0o600);
    this.#accepting = this.#accept();
  }

  async #accept(): Promise<void> {
    while (!this.#isEnding) {
      try {
        this.#take(await this.#listener.accept());
        this.#hasWarned = false;
      } catch (error) {
        if (this.#isEnding) return;
        if (!this.#hasWarned) {
          this.#options.warn(
            `no command can borrow references for a while: ${messageOf(error)}`,
          );
        }
        this.#hasWarned = true;
        await new Promise((resolve) => setTimeout(resolve, RECOVERY));
      }
    }
  }

  #take(stream: Deno.UnixConn): void {
    const client = new Client(stream, this.#limits.idleTime);
    if (this.#clients.size >= this.#limits.clients) return client.close();
    const end = this.#serve(client).catch((error) =>
      this.#options.warn(`internal error: ${messageOf(error)}`)
    ).finally(() => {
      client.close();
      this.#clients.delete(client);
      for (const id of client.leases()) this.#end(client, id);
    });
    this.#clients.set(client, end);
  }

  async #serve(client: Client): Promise<void> {
    for await (const { word, id } of messagesOf(client.stream, REQUESTS)) {
      if (word === "end") this.#end(client, id);
      else if (!await client.send(await this.#begin(client, id), id)) return;
    }
  }

  async #begin(client: Client, id: ProcessId): Promise<Answer> {
    const key = keyOf(id);
    const borrower = this.#borrowers.get(key);
    if (borrower && borrower !== client) return "busy";
    this.#borrowers.set(key, client);
    // Begun again, it must not end meanwhile.
    client.beBusy();
    client.forget(id);
    const answer = await this.#options.lend(id);
    client.begin(id, this.#limits.leaseTime, () => {
      this.#end(client, id);
      client.send("over", id);
    });
    // It does not know that it has it, or has gone.
    if (answer !== "granted" || client.isClosed) this.#end(client, id);
    return answer;
  }

  #end(client: Client, id: ProcessId): void {
    client.forget(id);
    client.beIdle();
    const key = keyOf(id);
    if (this.#borrowers.get(key) !== client) return;
    this.#borrowers.delete(key);
    this.#options.takeBack(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnding = true;
    this.#listener.close();
    for (const client of this.#clients.keys()) client.close();
    await Promise.all([this.#accepting, ...this.#clients.values()]);
  }
}

/** A client, with its leases. */
class Client {
  readonly stream: Deno.UnixConn;
  readonly #idleTime: number;
  readonly #leases = new Map<string, { id: ProcessId; timer: number }>();
  #idle: number | undefined;
  isClosed = false;

  constructor(stream: Deno.UnixConn, idleTime: number) {
    this.stream = stream;
    this.#idleTime = idleTime;
    this.beIdle();
  }

  /** Closes the connection after a time in which it has no lease. */
  beIdle(): void {
    clearTimeout(this.#idle);
    if (this.#leases.size > 0 || this.isClosed) return;
    this.#idle = setTimeout(() => this.close(), this.#idleTime);
  }

  /** Keeps the connection open. */
  beBusy(): void {
    clearTimeout(this.#idle);
  }

  begin(id: ProcessId, milliseconds: number, onOver: () => void): void {
    this.forget(id);
    const timer = setTimeout(onOver, milliseconds);
    this.#leases.set(keyOf(id), { id, timer });
  }

  forget(id: ProcessId): void {
    clearTimeout(this.#leases.get(keyOf(id))?.timer);
    this.#leases.delete(keyOf(id));
  }

  leases(): ProcessId[] {
    return Array.from(this.#leases.values(), ({ id }) => id);
  }

  /** @returns whether it was sent. A client that does not read ends with its lease. */
  async send(word: Answer, id: ProcessId): Promise<boolean> {
    try {
      await this.stream.write(encodeMessage({ word, id }));
      return true;
    } catch {
      return false;
    }
  }

  close(): void {
    clearTimeout(this.#idle);
    if (this.isClosed) return;
    this.isClosed = true;
    this.stream.close();
  }
}
