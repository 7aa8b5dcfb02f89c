/**
 * The API server of the cluster, as a pod reaches it: its address from the environment,
 * the token and the certificate authority from the files of the service account.
 *
 * https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
 *
 * @module
 */

import { messageOf, RcapError, UsageError } from "../errors.ts";
import { type FileCalls, readUpTo } from "../platform/directory.ts";
import { openTrustedFile } from "../platform/trusted_path.ts";
import { textUpTo } from "./lines.ts";

/** The environment variables of a pod: the first two by the kubelet, the last by its manifest. */
export const KUBERNETES_ENVIRONMENT = [
  "KUBERNETES_SERVICE_HOST",
  "KUBERNETES_SERVICE_PORT",
  "NODE_NAME",
] as const;

/** Where the kubelet mounts the service account. */
const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

/** More than a token or some certificates need, in bytes. */
const LARGEST_FILE = 2 ** 20;

/** What a token consists of: printable characters, more than those of RFC 6750. */
const TOKEN = /^[!-~]+$/;

/** More than the explanation of a refusal needs, in bytes. */
const LARGEST_REFUSAL = 64 * 1024;

/** The API server refused a request. */
export class Refused extends RcapError {
  override name = "Refused";
  /** The status of HTTP: https://kubernetes.io/docs/reference/using-api/api-concepts/. */
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** How pods of a node are asked for. */
export interface ApiServer {
  readonly node: string;
  /**
   * Sends a request.
   *
   * @param path with a query.
   * @returns the body of the answer, which has to be read or cancelled.
   * @throws Refused if the status is not 200.
   * @throws RcapError if the server cannot be reached, or the account not be read.
   * @throws the signal's reason if it is aborted.
   */
  get(
    path: string,
    options: { accept: string; signal: AbortSignal },
  ): Promise<ReadableStream<Uint8Array>>;
}

/**
 * Returns the API server of the cluster in which this process is a pod.
 *
 * @param account the directory of the service account.
 * @throws UsageError if it is not in one, or the name of its node is not known.
 */
export function ownApiServer(
  files: FileCalls,
  { env = (name) => Deno.env.get(name), account = ACCOUNT }: {
    env?: (name: string) => string | undefined;
    account?: string;
  } = {},
): ApiServer & Disposable {
  const [host, port, node] = KUBERNETES_ENVIRONMENT.map((name) => env(name));
  if (!host || !port) {
    throw new UsageError(
      `kubernetes is true, but this is not a pod: ${
        KUBERNETES_ENVIRONMENT[host ? 1 : 0]
      } is not set`,
      "run rcap as deploy/kubernetes does, or remove it",
    );
  }
  if (!node) {
    throw new UsageError(
      "kubernetes is true, but the environment variable NODE_NAME does not name the node",
      "set it from spec.nodeName, as deploy/kubernetes does",
    );
  }
  const base = `https://${host.includes(":") ? `[${host}]` : host}:${port}`;
  return new InCluster({ files, base, node, account });
}

class InCluster implements ApiServer, Disposable {
  readonly node: string;
  readonly #files: FileCalls;
  readonly #base: string;
  readonly #account: string;
  #client: Deno.HttpClient | undefined;
  #authority = "";

  constructor(
    { files, base, node, account }: {
      files: FileCalls;
      base: string;
      node: string;
      account: string;
    },
  ) {
    this.#files = files;
    this.#base = base;
    this.#account = account;
    this.node = node;
  }

  async get(
    path: string,
    { accept, signal }: { accept: string; signal: AbortSignal },
  ): Promise<ReadableStream<Uint8Array>> {
    // The kubelet replaces the token before it expires, and the authority may change.
    const token = this.#token();
    const client = this.#clientFor(this.#read("ca.crt"));
    let response: Response;
    try {
      response = await fetch(this.#base + path, {
        client,
        signal,
        redirect: "error",
        headers: { accept, authorization: `Bearer ${token}` },
      });
    } catch (error) {
      signal.throwIfAborted();
      throw new RcapError(
        `it cannot be reached at ${this.#base}: ${reasonOf(error)}`,
        { cause: error },
      );
    }
    const body = response.body ?? new Blob([]).stream();
    if (response.status === 200) return body;
    const text = await textUpTo(body, LARGEST_REFUSAL);
    const status = `${response.status} ${response.statusText}`.trim();
    const why = typeof text === "string" ? explanationIn(text) : "";
    throw new Refused(
      response.status,
      `it answers ${status}${why && `: ${why}`}${remedyFor(response.status)}`,
    );
  }

  #clientFor(authority: string): Deno.HttpClient {
    if (this.#client && authority === this.#authority) return this.#client;
    this.#client?.close();
    this.#client = undefined;
    this.#authority = authority;
    try {
      return this.#client = Deno.createHttpClient({ caCerts: [authority] });
    } catch (error) {
      throw new RcapError(
        `${this.#account}/ca.crt has no certificates (${
          messageOf(error)
        }); the pod needs a service account whose authority is mounted`,
        { cause: error },
      );
    }
  }

  /** Reads the token. No message repeats it: others can read them. */
  #token(): string {
    const token = this.#read("token").trim();
    if (TOKEN.test(token)) return token;
    throw new RcapError(
      `${this.#account}/token ${
        token === "" ? "is empty" : "is not a token"
      }; the pod needs a service account whose token is mounted`,
    );
  }

  #read(name: string): string {
    const path = `${this.#account}/${name}`;
    try {
      using file = openTrustedFile(this.#files, path);
      const bytes = readUpTo(file, LARGEST_FILE);
      if (!bytes) throw new RcapError("it is too large");
      return new TextDecoder().decode(bytes);
    } catch (error) {
      if (!(error instanceof RcapError)) throw error;
      throw new RcapError(
        `${path} cannot be read (${error.message}); the pod needs a service account whose token is mounted`,
        { cause: error },
      );
    }
  }

  [Symbol.dispose](): void {
    this.#client?.close();
  }
}

/**
 * Why a request failed, without the URL, and without the port that it was sent from, which
 * would make each failure another one.
 */
function reasonOf(error: unknown): string {
  return messageOf(error).replace(/^error sending request .*?\): /, "");
}

/** The message of the `Status` with which the server explains a refusal; empty without one. */
function explanationIn(text: string): string {
  try {
    const { message } = JSON.parse(text);
    return typeof message === "string" ? message.slice(0, 200) : "";
  } catch {
    return "";
  }
}

function remedyFor(status: number): string {
  switch (status) {
    case 401:
      return "; the token of the service account is not valid";
    case 403:
      return "; its service account needs to list and watch pods: deploy/kubernetes/rbac.yaml";
    default:
      return "";
  }
}
