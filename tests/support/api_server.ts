/**
 * An API server of Kubernetes that replays exchanges from a file, over HTTPS, and the
 * service account with which a pod finds it.
 *
 * @module
 */

import { assert } from "@std/assert";
import { assertRuns } from "../../scripts/package/run.ts";
import { until } from "./workload.ts";

/** A request that is expected, and the answer to it. */
export interface Exchange {
  /** What is so, for a person. */
  readonly what: string;
  /** Parameters that the query must have; null for those that it must not have. */
  readonly query: Readonly<Record<string, string | null>>;
  /** By default 200. */
  readonly status?: number;
  /** The answer as JSON. */
  readonly body?: unknown;
  /** The answer as lines, each of which is JSON. */
  readonly lines?: readonly unknown[];
  /** The answer as it is. */
  readonly text?: string;
  /** How many bytes at a time the answer comes in; by default all at once. */
  readonly pieces?: number;
  /** What the answer ends with: `hang` leaves it open, `drop` breaks the connection. */
  readonly then?: "end" | "hang" | "drop";
}

const RECORDINGS = new URL("../fixtures/kubernetes/", import.meta.url);

/** Reads exchanges. */
export function exchangesOf(name: string): Exchange[] {
  return JSON.parse(Deno.readTextFileSync(new URL(name, RECORDINGS)));
}

/** The names of all files of exchanges. */
export function recordings(): string[] {
  return [...Deno.readDirSync(RECORDINGS)].map(({ name }) => name).sort();
}

/** A server and a service account; disposing ends the one and removes the other. */
export class ReplayedApiServer implements AsyncDisposable {
  /** The directory of the service account. */
  readonly account: string;
  /** What was wrong with requests. */
  readonly complaints: string[] = [];
  /** The exchanges that are over or running. */
  readonly done: string[] = [];
  /** The tokens of all requests. */
  readonly tokens: string[] = [];
  readonly #folder: string;
  readonly #exchanges: Exchange[];
  readonly #end = new AbortController();
  /** Drops the answers that hang. */
  readonly #hanging = new Set<() => void>();
  #server: Deno.HttpServer<Deno.NetAddr> | undefined;

  private constructor(folder: string, exchanges: readonly Exchange[]) {
    this.#folder = folder;
    this.#exchanges = [...exchanges];
    this.account = `${folder}/account`;
  }

  static async start(
    exchanges: readonly Exchange[],
  ): Promise<ReplayedApiServer> {
    const folder = Deno.makeTempDirSync({ prefix: "rcap-api-server-" });
    const replayed = new ReplayedApiServer(folder, exchanges);
    await makeCertificates(folder);
    Deno.mkdirSync(replayed.account);
    replayed.writeToken("first");
    Deno.copyFileSync(`${folder}/ca.crt`, `${replayed.account}/ca.crt`);
    replayed.listen();
    return replayed;
  }

  writeToken(token: string): void {
    Deno.writeTextFileSync(`${this.account}/token`, `${token}\n`);
  }

  /** Adds exchanges after the others. */
  add(...exchanges: Exchange[]): void {
    this.#exchanges.push(...exchanges);
  }

  /** Begins to listen, on the same port as before. */
  listen(): void {
    const port = this.#server?.addr.port ?? 0;
    this.#server = Deno.serve({
      hostname: "127.0.0.1",
      port,
      cert: Deno.readTextFileSync(`${this.#folder}/server.crt`),
      key: Deno.readTextFileSync(`${this.#folder}/server.key`),
      onListen: () => {},
      // A dropped connection is one of the exchanges.
      onError: () => new Response(null, { status: 500 }),
    }, (request) => this.#answer(request));
  }

  /** Ends the server, as when it restarts. */
  async shutDown(): Promise<void> {
    for (const drop of this.#hanging) drop();
    this.#hanging.clear();
    await this.#server?.shutdown();
  }

  /** Waits until some exchanges have begun. */
  async untilDone(count: number, timeout?: number): Promise<void> {
    await until(
      () => this.done.length >= count || this.complaints.length > 0,
      `${count} exchanges, after ${this.done.join(", ")}`,
      timeout,
    );
    assert(this.complaints.length === 0, this.complaints.join("\n"));
  }

  /** The environment of a pod. */
  get env(): Record<string, string> {
    return {
      KUBERNETES_SERVICE_HOST: "127.0.0.1",
      KUBERNETES_SERVICE_PORT: `${this.#server?.addr.port}`,
      NODE_NAME: "node-1",
    };
  }

  #answer(request: Request): Response {
    const { pathname, searchParams } = new URL(request.url);
    const [scheme, token] = request.headers.get("authorization")?.split(" ") ??
      [];
    this.tokens.push(token);
    const exchange = this.#exchanges.shift();
    const complaint = this.#complaintAbout(exchange, {
      pathname,
      searchParams,
      scheme,
      accept: request.headers.get("accept") ?? "",
    });
    if (!exchange || complaint) {
      this.complaints.push(`${exchange?.what}: ${complaint}`);
      return new Response(complaint, { status: 400 });
    }
    this.done.push(exchange.what);
    return new Response(this.#bodyOf(exchange), {
      status: exchange.status ?? 200,
      headers: { "content-type": "application/json" },
    });
  }

  #complaintAbout(
    exchange: Exchange | undefined,
    { pathname, searchParams, scheme, accept }: {
      pathname: string;
      searchParams: URLSearchParams;
      scheme: string;
      accept: string;
    },
  ): string | undefined {
    const asked = `${pathname}?${searchParams}`;
    if (!exchange) return `no other request was expected than ${asked}`;
    if (pathname !== "/api/v1/pods") return `not the pods: ${asked}`;
    if (scheme !== "Bearer") return "no token";
    if (!accept.startsWith("application/json;as=PartialObjectMetadata")) {
      return `more than metadata: ${accept}`;
    }
    const selector = searchParams.get("fieldSelector") ?? "";
    if (!selector.split(",").includes("spec.nodeName=node-1")) {
      return `not one node: ${asked}`;
    }
    for (const [key, value] of Object.entries(exchange.query)) {
      if (searchParams.get(key) !== value) {
        return `${key} is not ${value}: ${asked}`;
      }
    }
  }

  #bodyOf(
    { body, lines, text, pieces, then = "end" }: Exchange,
  ): ReadableStream<Uint8Array> {
    const whole = text ??
      (lines?.map((line) => `${JSON.stringify(line)}\n`).join("") ??
        JSON.stringify(body));
    const bytes = new TextEncoder().encode(whole);
    const step = pieces ?? Math.max(1, bytes.length);
    return ReadableStream.from(this.#send(bytes, step, then));
  }

  async *#send(
    bytes: Uint8Array<ArrayBuffer>,
    step: number,
    then: "end" | "hang" | "drop",
  ): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    for (let at = 0; at < bytes.length; at += step) {
      yield bytes.subarray(at, at + step);
      if (step < bytes.length) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
    let isDropped = then === "drop";
    // A broken connection loses what was not read yet.
    if (isDropped) await new Promise((resolve) => setTimeout(resolve, 50));
    if (then === "hang" && !this.#end.signal.aborted) {
      await new Promise<void>((resolve) => this.#hanging.add(resolve));
      isDropped = true;
    }
    if (isDropped) throw new Error("the connection breaks");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.shutDown();
    Deno.removeSync(this.#folder, { recursive: true });
  }
}

/** Makes a certificate authority and a certificate of this machine: openssl-req(1). */
async function makeCertificates(folder: string): Promise<void> {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
  const files = (name: string) => [
    "-nodes",
    "-keyout",
    `${folder}/${name}.key`,
    "-out",
    `${folder}/${name}.crt`,
  ];
  const request = ["req", "-x509", ...key, "-days", "2"];
  await assertRuns("openssl", [
    ...request,
    ...files("ca"),
    "-subj",
    "/CN=test authority",
    "-addext",
    "keyUsage=critical,keyCertSign",
  ]);
  await assertRuns("openssl", [
    ...request,
    ...files("server"),
    "-CA",
    `${folder}/ca.crt`,
    "-CAkey",
    `${folder}/ca.key`,
    "-subj",
    "/CN=kubernetes",
    "-addext",
    "subjectAltName=IP:127.0.0.1",
    "-addext",
    "basicConstraints=critical,CA:FALSE",
  ]);
}
