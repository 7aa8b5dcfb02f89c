/**
 * Serves `/metrics` and `/healthz` over HTTP.
 *
 * @module
 */

import { accepts } from "@std/http/negotiation";
import { RcapError, UsageError } from "../errors.ts";
import { lines } from "../report/escape.ts";
import {
  type Metrics,
  METRICS_FORMATS,
  type MetricsFormat,
} from "./metrics.ts";

/** Where to listen. */
export interface Address {
  readonly hostname: string;
  /** 0 for any that is free. */
  readonly port: number;
}

/** Who may connect when no host was asked for: this machine. */
const LOOPBACK = "127.0.0.1";

const TEXT = "text/plain; charset=utf-8";

/**
 * Parses an address to listen on: `HOST:PORT`, `[::1]:PORT`, or `:PORT` and `PORT`
 * for this machine only.
 *
 * @param what what it is for, for the message.
 * @throws UsageError when it is none.
 */
export function parseAddress(text: string, what = "--metrics"): Address {
  const complaint = (reason: string) =>
    new UsageError(
      `${what}: "${text}" ${reason}; write HOST:PORT (127.0.0.1:9090, [::1]:9090) or only a port for this machine alone (9090)`,
    );
  const [, bracketed, plain = "", digits] =
    /^(?:\[([^[\]]*)\]:|([^:]*):)?(\d+)$/.exec(text) ?? [];
  if (digits === undefined) {
    throw complaint(
      /^[\da-fA-F:.]*:[\da-fA-F:.]*:/.test(text)
        ? "is an IPv6 address without brackets or without a port"
        : "is not an address",
    );
  }
  const port = Number(digits);
  if (port > 65535) throw complaint("has no port between 0 and 65535");
  if (bracketed !== undefined) {
    if (!isIpv6(bracketed)) throw complaint("has no IPv6 address in brackets");
    return { hostname: bracketed, port };
  }
  if (/[^\w.-]/.test(plain)) throw complaint("has no host that can be one");
  return { hostname: plain || LOOPBACK, port };
}

function isIpv6(text: string): boolean {
  return text.includes(":") && URL.canParse(`http://[${text}]/`);
}

/** An address as it is written in URLs. */
export function formatAddress({ hostname, port }: Address): string {
  return hostname.includes(":")
    ? `[${hostname}]:${port}`
    : `${hostname}:${port}`;
}

/** How long to wait before listening again, in milliseconds. */
const RECOVERY_MS = 1000;

/** What is served. */
export interface MetricsServerOptions {
  readonly address: Address;
  readonly metrics: Metrics;
  /** Why the daemon is not well; `undefined` when it is. */
  readonly health: () => string | undefined;
  /** Is told when serving has failed and goes on later. */
  readonly warn?: (message: string) => void;
}

/** A running server; disposing closes it and its connections. */
export class MetricsServer implements AsyncDisposable {
  readonly #metrics: Metrics;
  readonly #health: () => string | undefined;
  readonly #warn: (message: string) => void;
  /** Where it listens, with the port that it got. */
  readonly address: Address;
  readonly #end = new AbortController();
  #server: Deno.HttpServer<Deno.NetAddr>;
  #recovery: ReturnType<typeof setTimeout> | undefined;

  /**
   * Starts to listen.
   *
   * @throws RcapError when nobody can listen there.
   */
  constructor(
    { address, metrics, health, warn = () => {} }: MetricsServerOptions,
  ) {
    this.#metrics = metrics;
    this.#health = health;
    this.#warn = warn;
    try {
      this.#server = this.#listen(address);
    } catch (error) {
      throw listenError(address, error);
    }
    const { hostname, port } = this.#server.addr;
    this.address = { hostname, port };
  }

  #listen(address: Address): Deno.HttpServer<Deno.NetAddr> {
    const server = Deno.serve({
      ...address,
      signal: this.#end.signal,
      // It would print the address otherwise.
      onListen: () => {},
      onError: failed,
    }, (request) => this.#answer(request));
    // When a connection cannot be accepted, for want of a descriptor say, it ends
    // once those that it has are closed. That must not end the daemon.
    server.finished.catch((error) => {
      this.#warn(`metrics are not served for a while: ${messageOf(error)}`);
      this.#recoverLater();
    });
    return server;
  }

  #recoverLater(): void {
    if (this.#end.signal.aborted) return;
    this.#recovery = setTimeout(() => {
      try {
        this.#server = this.#listen(this.address);
      } catch {
        // Told already, or in use by another for now: again later.
        this.#recoverLater();
      }
    }, RECOVERY_MS);
  }

  async #answer(request: Request): Promise<Response> {
    if (!["GET", "HEAD"].includes(request.method)) {
      return text("only GET and HEAD\n", 405, { allow: "GET, HEAD" });
    }
    switch (new URL(request.url).pathname) {
      case "/metrics": {
        const format = formatFor(request);
        const body = await this.#metrics.render(format);
        return new Response(body, { headers: { "content-type": format } });
      }
      case "/healthz": {
        const reason = this.#health();
        return reason === undefined ? text("ok\n") : text(lines(reason), 503);
      }
      default:
        return text("rcap: there are /metrics and /healthz\n", 404);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    clearTimeout(this.#recovery);
    // What went wrong has been told.
    await this.#server.finished.catch(() => {});
  }
}

/** The format that whoever asks can read, OpenMetrics when in doubt. */
function formatFor(request: Request): MetricsFormat {
  // Who names a version means that and any charset.
  const types = METRICS_FORMATS.map((format) =>
    format.replace(/; charset=.*/, "")
  );
  const accepted = accepts(request, ...types);
  return METRICS_FORMATS[Math.max(0, types.indexOf(accepted ?? ""))];
}

function text(
  body: string,
  status = 200,
  headers: Record<string, string> = {},
): Response {
  return new Response(body, {
    status,
    headers: { "content-type": TEXT, "cache-control": "no-store", ...headers },
  });
}

/** The answer when an answer cannot be made. */
function failed(error: unknown): Response {
  return text(lines(`rcap: internal error: ${messageOf(error)}`), 500);
}

/** Why nobody can listen at an address, and what to do about it. */
function listenError(address: Address, error: unknown): RcapError {
  return new RcapError(
    `cannot serve metrics at ${formatAddress(address)}: ${reasonOf(error)}`,
    { cause: error },
  );
}

function reasonOf(error: unknown): string {
  if (error instanceof Deno.errors.AddrInUse) {
    return "the port is in use; choose another, or stop the program that has it (ss -ltnp names it)";
  }
  if (error instanceof Deno.errors.AddrNotAvailable) {
    return "this machine has no such address; choose one that ip address shows, or 127.0.0.1";
  }
  if (error instanceof Deno.errors.PermissionDenied) {
    return "permission denied; ports below 1024 need a privilege that rcap does without, choose a higher one";
  }
  return `${messageOf(error)}; choose another address`;
}

function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  // Deno's own error of serving has the text of another, name and all.
  return message.replace(/^Error: /, "");
}
