/**
 * A small HTTP server for a port that strangers can connect to. Strangers cannot use
 * up its descriptors, because the number of connections is limited; cannot keep
 * others out, because a new connection replaces the oldest; and cannot make it wait,
 * because everything has a deadline.
 *
 * Deno's own server and its `node:http` have none of these limits: they accept Node's
 * settings, such as `maxConnections` and `headersTimeout`, but ignore them.
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
  /** 0 for any free port. */
  readonly port: number;
}

/** The answer to a request. */
export interface HttpResponse {
  readonly status: number;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** What clients may use at most. Times in milliseconds. */
export interface HttpLimits {
  /** The number of open connections. */
  readonly connections: number;
  /** The time from the first byte of a request to the last byte of its answer. */
  readonly requestTime: number;
  /** The time between requests. */
  readonly idleTime: number;
}

/** The default limits. */
export const HTTP_LIMITS: HttpLimits = {
  connections: 32,
  requestTime: 10_000,
  // Keeps the connection of a scraper that comes once a minute.
  idleTime: 90_000,
};

/** The greatest length of the head of a request, in bytes. */
const LONGEST_HEAD = 8192;

/** How long to wait after a connection could not be accepted, in milliseconds. */
const RECOVERY_MS = 250;

/** The shortest time between two warnings about that, in milliseconds. */
const WARNING_MS = 60_000;

/** How long to read and drop what a client still sends, in milliseconds. */
const LINGER_MS = 1000;

/** What a server does, and how. */
export interface HttpServerOptions {
  readonly address: Address;
  readonly answer: (
    request: HttpRequest,
  ) => HttpResponse | Promise<HttpResponse>;
  /** The answer to a request that is refused, or cannot be answered. */
  readonly refuse: (status: number, reason: string) => HttpResponse;
  /** Called with a message if no connection can be accepted for a while. */
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
  /** The open connections, each with a promise of its end. */
  readonly #connections = new Map<Connection, Promise<void>>();
  readonly #ends: Set<Promise<void>> = new Set();
  readonly #end = new AbortController();
  #warnedAt = -Infinity;

  /**
   * Starts to listen.
   *
   * @throws the error of `Deno.listen` if the address cannot be listened on.
   */
  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#limits = { ...HTTP_LIMITS, ...options.limits };
    this.#listener = Deno.listen({ ...options.address, transport: "tcp" });
    this.#keep(this.#accept());
  }

  /** The address that it listens on, with the actual port. */
  get address(): Address {
    const { hostname, port } = this.#listener.addr;
    return { hostname, port };
  }

  /** The number of open connections. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Makes the server wait for a step before it ends. */
  #keep(step: Promise<void>): Promise<void> {
    // Strangers must not end rcap, whatever fault they find.
    const end = step.catch((error) =>
      this.#options.warn(`internal error: ${messageOf(error)}`)
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
        // The client closed it before it was accepted.
        if (error instanceof Deno.errors.ConnectionAborted) continue;
        // No descriptor is free, for example. The server goes on listening.
        this.#warn(messageOf(error));
        if (!await this.#makeRoom()) await pause(RECOVERY_MS, signal);
      }
    }
  }

  #warn(reason: string): void {
    const now = performance.now();
    if (now - this.#warnedAt < WARNING_MS) return;
    this.#warnedAt = now;
    this.#options.warn(`no client can connect for a while: ${reason}`);
  }

  /** Serves a connection; ends another one first if there are too many. */
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
   * @returns whether there was a connection.
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

  /** Encodes the answer to a request. */
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

/** The head of a request, or why it is refused. */
type Head = Uint8Array | HttpError;

/** A connection: reads and writes, each with a deadline. */
class Connection {
  readonly #stream: Deno.TcpConn;
  readonly #buffer = new Uint8Array(LONGEST_HEAD);
  /** How many bytes of the buffer were received and not consumed yet. */
  #length = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;
  #isWriting = false;
  /**
   * When the current turn began, by `performance.now()`: the wait for a request, and
   * its answer. Bytes that trickle in, and requests that were sent together, do not
   * begin a new turn.
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

  /** Begins a turn: the client has `milliseconds` to begin a request. */
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
   * @param requestTime how long the request may take from its first byte on, in
   * milliseconds.
   * @returns `undefined` if the connection ends first.
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

  /** @returns `null` at the end of the stream. */
  async #read(into: Uint8Array): Promise<number | null> {
    try {
      return await this.#stream.read(into);
    } catch {
      // After any error the connection is over.
      return null;
    }
  }

  /** @returns whether everything was written. */
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
   * Reads what the client still sends, for a while. If the connection were closed
   * with unread data, the client might lose the answer: RFC 9112, section 9.6.
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

  /** Closes the connection unless it is closed already. */
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

/** The reason phrases of the statuses in use: RFC 9110, section 15. */
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
 * Encodes an answer.
 *
 * @param request the request: the connection ends after the last one, and the answer
 * to `HEAD` has no body.
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

/** Waits for some time, or until the signal is aborted. */
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
