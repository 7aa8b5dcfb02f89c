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

/** Connections take this share of all descriptors at most. */
const DESCRIPTOR_SHARE = 1 / 8;

/**
 * For so long metrics serve others too, in milliseconds: the time that making them
 * takes is not up to how often somebody asks.
 */
const FRESH_MS = 100;

/** As many connections as leave descriptors enough for what the daemon is for. */
export function mostConnections(descriptors: number): number {
  const share = Math.floor(descriptors * DESCRIPTOR_SHARE);
  return Math.min(HTTP_LIMITS.connections, Math.max(1, share));
}

/** What is served. */
export interface MetricsServerOptions {
  readonly address: Address;
  readonly metrics: Metrics;
  /** Why the daemon is not well; `undefined` when it is. */
  readonly health: () => string | undefined;
  /** Is told when serving has failed and goes on later. */
  readonly warn?: (message: string) => void;
  readonly endConnection: OperatingSystem["endConnection"];
  /** How many descriptors the process may have; connections take a part of them. */
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
   * @throws RcapError when nobody can listen there.
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

  /** Where it listens, with the port that it got. */
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

  /** All metrics as they are now, or were a moment ago. */
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

/** The format that whoever asks can read, OpenMetrics when in doubt. */
function formatFor(headers: Headers): MetricsFormat {
  // Who names a version means that and any charset.
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
