/**
 * A small HTTP server for a port that strangers can connect to. They can neither
 * take its descriptors, for connections are few, nor keep others out, for the oldest
 * makes room, nor have it wait, for everything has a deadline.
 *
 * Deno's own server and the `node:http` it offers have none of these limits: the
 * settings of Node's, `maxConnections` and `headersTimeout` for instance, are taken
 * and do nothing.
 *
 * @module
 */

import type { OperatingSystem } from "../platform/operating_system.ts";
import { messageOf } from "../errors.ts";
import {
  emptyLines,
  endOfHead,
  HttpError,
  type HttpRequest,
  parseHead,
} from "./http_request.ts";

/** Where to listen. */
export interface Address {
  readonly hostname: string;
  /** 0 for any that is free. */
  readonly port: number;
}

/** An answer. */
export interface HttpResponse {
  readonly status: number;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** How much a client may ask for. Times in milliseconds. */
export interface HttpLimits {
  /** Connections at a time. */
  readonly connections: number;
  /** From the first byte of a request to the last of its answer. */
  readonly requestTime: number;
  /** Between requests. */
  readonly idleTime: number;
}

/** The limits unless others are asked for. */
export const HTTP_LIMITS: HttpLimits = {
  connections: 32,
  requestTime: 10_000,
  // Longer than a scraper's minute, so that its connection is kept.
  idleTime: 90_000,
};

/** The head of a request may be so long, in bytes. */
const LONGEST_HEAD = 8192;

/** How long to leave the port alone that cannot be accepted from, in milliseconds. */
const RECOVERY_MS = 250;

/** So often at most is told that it cannot, in milliseconds. */
const WARNING_MS = 60_000;

/** How long what a client still sends is read and dropped, in milliseconds. */
const LINGER_MS = 1000;

/** A server's task. */
export interface HttpServerOptions {
  readonly address: Address;
  readonly answer: (
    request: HttpRequest,
  ) => HttpResponse | Promise<HttpResponse>;
  /** The answer to a request that is refused, or cannot be answered. */
  readonly refuse: (status: number, reason: string) => HttpResponse;
  /** Is told when nobody can connect for a while. */
  readonly warn: (message: string) => void;
  /** Ends connections that Deno cannot: its `close()` waits for a write in progress. */
  readonly endConnection: OperatingSystem["endConnection"];
  readonly limits?: Partial<HttpLimits>;
}

/** A running server; disposing closes it and its connections. */
export class HttpServer implements AsyncDisposable {
  readonly #options: HttpServerOptions;
  readonly #limits: HttpLimits;
  readonly #listener: Deno.TcpListener;
  /** Those that are open, each with its end. */
  readonly #connections = new Map<Connection, Promise<void>>();
  readonly #ends: Set<Promise<void>> = new Set();
  readonly #end = new AbortController();
  #warnedAt = -Infinity;

  /**
   * Starts to listen.
   *
   * @throws what `Deno.listen` throws when nobody can.
   */
  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#limits = { ...HTTP_LIMITS, ...options.limits };
    this.#listener = Deno.listen({ ...options.address, transport: "tcp" });
    this.#keep(this.#accept());
  }

  /** Where it listens, with the port that it got. */
  get address(): Address {
    const { hostname, port } = this.#listener.addr;
    return { hostname, port };
  }

  /** How many are connected. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Has something end before the server has. */
  #keep(step: Promise<void>): Promise<void> {
    // Strangers must not end rcap, whatever they have found.
    const end = step.catch((error) =>
      this.#options.warn(`a fault of the server: ${messageOf(error)}`)
    ).finally(() => this.#ends.delete(end));
    this.#ends.add(end);
    return end;
  }

  async #accept(): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      try {
        await this.#take(await this.#listener.accept());
      } catch (error) {
        if (signal.aborted) return;
        // Gone before it was accepted.
        if (error instanceof Deno.errors.ConnectionAborted) continue;
        // For want of a descriptor, say. The port stays ours.
        this.#warn(messageOf(error));
        if (!await this.#makeRoom()) await pause(RECOVERY_MS, signal);
      }
    }
  }

  #warn(reason: string): void {
    const now = performance.now();
    if (now - this.#warnedAt < WARNING_MS) return;
    this.#warnedAt = now;
    this.#options.warn(`nobody can connect for a while: ${reason}`);
  }

  /** Serves a connection, which another makes room for where there is none. */
  async #take(stream: Deno.TcpConn): Promise<void> {
    const connection = new Connection(stream, this.#options.endConnection);
    if (this.#connections.size >= this.#limits.connections) {
      await this.#makeRoom();
    }
    const end = this.#keep(
      this.#serve(connection).finally(() => {
        this.#connections.delete(connection);
        connection.close();
      }),
    );
    this.#connections.set(connection, end);
    // Disposed of meanwhile.
    if (this.#end.signal.aborted) connection.close();
  }

  /**
   * Ends the connection whose turn has lasted longest, and waits until its
   * descriptor is free.
   *
   * @returns whether there was one.
   */
  async #makeRoom(): Promise<boolean> {
    let longest: Connection | undefined;
    for (const connection of this.#connections.keys()) {
      if (connection.turnSince < (longest?.turnSince ?? Infinity)) {
        longest = connection;
      }
    }
    if (!longest) return false;
    longest.close();
    await this.#connections.get(longest);
    return true;
  }

  async #serve(connection: Connection): Promise<void> {
    const { requestTime, idleTime } = this.#limits;
    let patience = requestTime;
    for (let isLast = false; !isLast; patience = idleTime) {
      connection.nextTurn(patience);
      const head = await connection.readHead(requestTime);
      if (head === undefined) return;
      const answer = await this.#answer(head);
      isLast = answer.isLast;
      if (!await connection.write(answer.bytes)) return;
    }
    await connection.linger();
  }

  /** The answer to a request, as it is sent. */
  async #answer(head: Head): Promise<{ bytes: Uint8Array; isLast: boolean }> {
    const { answer, refuse } = this.#options;
    let request: HttpRequest | undefined;
    try {
      if (head instanceof HttpError) throw head;
      request = parseHead(head);
      const { isLast, method } = request;
      return {
        bytes: encode(await answer(request), { isLast, method }),
        isLast,
      };
    } catch (error) {
      const response = error instanceof HttpError
        ? refuse(error.status, error.message)
        : refuse(500, `internal error: ${messageOf(error)}`);
      const isLast = true;
      const method = request?.method;
      return { bytes: encode(response, { isLast, method }), isLast };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    this.#listener.close();
    for (const connection of this.#connections.keys()) connection.close();
    await Promise.all(this.#ends);
  }
}

/** The head of a request, or why it cannot be taken. */
type Head = Uint8Array | HttpError;

/** A connection: what comes and goes on it, and how long that may take. */
class Connection {
  readonly #stream: Deno.TcpConn;
  readonly #buffer = new Uint8Array(LONGEST_HEAD);
  /** How many bytes of the buffer have come and were not asked for yet. */
  #length = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;
  #isWriting = false;
  /**
   * Since when it is waited for a request or one is answered, as
   * `performance.now()` tells. Neither bytes that trickle in nor requests that were
   * sent at once make it newer.
   */
  turnSince = performance.now();

  readonly #endConnection: OperatingSystem["endConnection"];

  constructor(
    stream: Deno.TcpConn,
    endConnection: OperatingSystem["endConnection"],
  ) {
    this.#stream = stream;
    this.#endConnection = endConnection;
  }

  /** The client may send a request, and has so long to begin with it. */
  nextTurn(milliseconds: number): void {
    if (this.#length === 0) this.turnSince = performance.now();
    this.#closeIn(milliseconds);
  }

  #closeIn(milliseconds: number): void {
    clearTimeout(this.#timer);
    if (!this.#isClosed) {
      this.#timer = setTimeout(() => this.close(), milliseconds);
    }
  }

  /**
   * Reads the head of the next request.
   *
   * @param requestTime when the request has begun, it has to end by then.
   * @returns `undefined` when there is none.
   */
  async readHead(requestTime: number): Promise<Head | undefined> {
    let hasBegun = false;
    let lookedThrough = 0;
    while (true) {
      const empty = emptyLines(this.#received);
      if (empty > 0) {
        this.#drop(empty);
        lookedThrough = 0;
      }
      if (!hasBegun && this.#length > 0) {
        hasBegun = true;
        this.#closeIn(requestTime);
      }
      const end = endOfHead(this.#received, lookedThrough);
      if (end !== undefined) {
        const head = this.#buffer.slice(0, end);
        this.#drop(end);
        return head;
      }
      if (this.#length === LONGEST_HEAD) {
        return this.#received.includes(0x0a)
          ? new HttpError(431, "the header fields are too long")
          : new HttpError(414, "the request line is too long");
      }
      lookedThrough = this.#length;
      const count = await this.#read(this.#buffer.subarray(this.#length));
      if (count === null) return undefined;
      this.#length += count;
    }
  }

  get #received(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  #drop(count: number): void {
    this.#buffer.copyWithin(0, count, this.#length);
    this.#length -= count;
  }

  /** @returns `null` when nothing comes any more. */
  async #read(into: Uint8Array): Promise<number | null> {
    try {
      return await this.#stream.read(into);
    } catch {
      // Whatever became of it, it is over.
      return null;
    }
  }

  /** @returns whether all of it was taken. */
  async write(bytes: Uint8Array): Promise<boolean> {
    this.#isWriting = true;
    try {
      for (let at = 0; at < bytes.length;) {
        at += await this.#stream.write(bytes.subarray(at));
      }
      return true;
    } catch {
      return false;
    } finally {
      this.#isWriting = false;
    }
  }

  /**
   * Reads what the client has yet to send, for a while: were it closed with that
   * unread, the client might lose the answer. RFC 9112, section 9.6.
   */
  async linger(): Promise<void> {
    try {
      await this.#stream.closeWrite();
    } catch {
      return;
    }
    this.#closeIn(LINGER_MS);
    let count: number | null = 0;
    while (count !== null) count = await this.#read(this.#buffer);
  }

  /** Closes it, if it is not yet. */
  close(): void {
    clearTimeout(this.#timer);
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#isWriting) {
      const { localAddr, remoteAddr } = this.#stream;
      this.#endConnection(localAddr, remoteAddr);
    }
    this.#stream.close();
  }
}

/** What the statuses are called that there are here: RFC 9110, section 15. */
const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  413: "Content Too Large",
  414: "URI Too Long",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  503: "Service Unavailable",
  505: "HTTP Version Not Supported",
};

const encoder = new TextEncoder();

/**
 * An answer as it is sent.
 *
 * @param request what it answers: after the last one the connection ends, and
 * `HEAD` takes no body.
 */
function encode(
  { status, body, headers }: HttpResponse,
  { isLast, method }: { isLast: boolean; method?: string },
): Uint8Array {
  const content = encoder.encode(body);
  const fields = Object.entries({
    ...headers,
    "date": new Date().toUTCString(),
    "content-length": content.length,
    ...(isLast ? { connection: "close" } : {}),
  });
  const head = encoder.encode([
    `HTTP/1.1 ${status} ${REASONS[status] ?? ""}`,
    ...fields.map(([name, value]) => `${name}: ${value}`),
    "\r\n",
  ].join("\r\n"));
  if (method === "HEAD") return head;
  const bytes = new Uint8Array(head.length + content.length);
  bytes.set(head);
  bytes.set(content, head.length);
  return bytes;
}

/** Waits for a while, or until a signal. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener("abort", end);
  });
}
