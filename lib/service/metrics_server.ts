/**
 * Serves `/metrics` and `/healthz` over HTTP.
 *
 * @module
 */

import { accepts } from "@std/http/negotiation";
import { messageOf, RcapError, UsageError } from "../errors.ts";
import type { OperatingSystem } from "../platform/operating_system.ts";
import { lines } from "../report/escape.ts";
import type { HttpRequest } from "./http_request.ts";
import {
  type Address,
  HTTP_LIMITS,
  type HttpResponse,
  HttpServer,
} from "./http_server.ts";
import {
  type Metrics,
  METRICS_FORMATS,
  type MetricsFormat,
} from "./metrics.ts";

export type { Address };

/** The default host: only this machine can connect. */
const LOOPBACK = "127.0.0.1";

const TEXT = "text/plain; charset=utf-8";

/**
 * Parses an address to listen on: `HOST:PORT`, `[::1]:PORT`, or `:PORT` and `PORT`
 * for this machine only.
 *
 * @param what the name of the option, for the message.
 * @throws UsageError if the text is not such an address.
 */
export function parseAddress(text: string, what = "--metrics"): Address {
  const complaint = (reason: string) =>
    new UsageError(
      `${what}: "${text}" ${reason}; write HOST:PORT (127.0.0.1:7227, [::1]:7227), or a port alone (7227) for this machine only`,
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
  if (/[^\w.-]/.test(plain)) throw complaint("has an invalid host");
  return { hostname: plain || LOOPBACK, port };
}

function isIpv6(text: string): boolean {
  return text.includes(":") && URL.canParse(`http://[${text}]/`);
}

/** Formats an address as in URLs. */
export function formatAddress({ hostname, port }: Address): string {
  return hostname.includes(":")
    ? `[${hostname}]:${port}`
    : `${hostname}:${port}`;
}

/** The greatest share of all descriptors that connections may use. */
const DESCRIPTOR_SHARE = 1 / 8;

/**
 * How long rendered metrics are reused, in milliseconds. So clients cannot make the
 * server render as often as they ask.
 */
const FRESH_MS = 100;

/** The greatest number of connections that leaves the daemon enough descriptors. */
export function mostConnections(descriptors: number): number {
  const share = Math.floor(descriptors * DESCRIPTOR_SHARE);
  return Math.min(HTTP_LIMITS.connections, Math.max(1, share));
}

/** What a metrics server serves, and where. */
export interface MetricsServerOptions {
  readonly address: Address;
  readonly metrics: Metrics;
  /** Returns why the daemon is not healthy; `undefined` if it is. */
  readonly health: () => string | undefined;
  /** Called with a message if serving has failed and will go on later. */
  readonly warn?: (message: string) => void;
  readonly endConnection: OperatingSystem["endConnection"];
  /** How many descriptors the process may have; connections use a share of them. */
  readonly descriptors?: number;
}

/** A running server; disposing closes it and its connections. */
export class MetricsServer implements AsyncDisposable {
  readonly #metrics: Metrics;
  readonly #health: () => string | undefined;
  readonly #server: HttpServer;
  readonly #rendered = new Map<
    MetricsFormat,
    { at: number; body: Promise<string> }
  >();

  /**
   * Starts to listen.
   *
   * @throws RcapError if the address cannot be listened on.
   */
  constructor(
    {
      address,
      metrics,
      health,
      warn = () => {},
      endConnection,
      descriptors = Infinity,
    }: MetricsServerOptions,
  ) {
    this.#metrics = metrics;
    this.#health = health;
    try {
      this.#server = new HttpServer({
        address,
        answer: (request) => this.#answer(request),
        refuse: (status, reason) =>
          text(`rcap: ${reason}\n`, status, status === 405 ? ALLOWED : {}),
        warn: (message) => warn(`metrics: ${message}`),
        endConnection,
        limits: { connections: mostConnections(descriptors) },
      });
    } catch (error) {
      throw listenError(address, error);
    }
  }

  /** The address that it listens on, with the actual port. */
  get address(): Address {
    return this.#server.address;
  }

  async #answer({ path, headers }: HttpRequest): Promise<HttpResponse> {
    switch (path) {
      case "/metrics": {
        const format = formatFor(headers);
        const body = await this.#render(format);
        return { status: 200, body, headers: { "content-type": format } };
      }
      case "/healthz": {
        const reason = this.#health();
        return reason === undefined ? text("ok\n") : text(lines(reason), 503);
      }
      default:
        return text("rcap: there are /metrics and /healthz\n", 404);
    }
  }

  /** Renders all metrics, or returns those rendered less than {@linkcode FRESH_MS} ago. */
  #render(format: MetricsFormat): Promise<string> {
    const now = performance.now();
    const last = this.#rendered.get(format);
    if (last && now - last.at < FRESH_MS) return last.body;
    const body = this.#metrics.render(format);
    this.#rendered.set(format, { at: now, body });
    return body;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }
}

const ALLOWED = { allow: "GET, HEAD" };

/** The format that the client accepts; OpenMetrics if it does not say. */
function formatFor(headers: Headers): MetricsFormat {
  // A client that names a version accepts any charset.
  const types = METRICS_FORMATS.map((format) =>
    format.replace(/; charset=.*/, "")
  );
  const accepted = accepts({ headers }, ...types);
  return METRICS_FORMATS[Math.max(0, types.indexOf(accepted ?? ""))];
}

function text(
  body: string,
  status = 200,
  headers: Record<string, string> = {},
): HttpResponse {
  return {
    status,
    body,
    headers: { "content-type": TEXT, "cache-control": "no-store", ...headers },
  };
}

/** The error of an address that cannot be listened on, with the remedy. */
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
    return "permission denied; ports below 1024 need a privilege that rcap may lack; choose a higher one";
  }
  return `${messageOf(error)}; choose another address`;
}
