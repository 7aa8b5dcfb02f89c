/**
 * Tests of the metrics over HTTP.
 *
 * @module
 */

import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { endConnection } from "../../ffi/linux_socket.ts";
import "../../tests/support/deadline.ts";
import { RcapError, UsageError } from "../errors.ts";
import { Metrics, METRICS_FORMATS } from "./metrics.ts";
import {
  formatAddress,
  MetricsServer,
  mostConnections,
  parseAddress,
} from "./metrics_server.ts";

const [OPENMETRICS, PROMETHEUS] = METRICS_FORMATS;
const LOOPBACK = { hostname: "127.0.0.1", port: 0 };

/** A server on a free port of this machine. */
function serve(health: () => string | undefined = () => undefined) {
  const metrics = new Metrics({ version: "1" });
  const server = new MetricsServer({
    address: LOOPBACK,
    metrics,
    health,
    endConnection,
  });
  return {
    server,
    metrics,
    url: (path: string) => `http://${formatAddress(server.address)}${path}`,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Fetches a page: its status, type and text. */
async function page(url: string, init?: RequestInit) {
  const response = await fetch(url, init);
  return {
    status: response.status,
    type: response.headers.get("content-type"),
    body: await response.text(),
  };
}

Deno.test("metrics have the format that the client accepts", async () => {
  await using served = serve();
  const formats: [accept: string | undefined, format: string][] = [
    [undefined, OPENMETRICS],
    ["*/*", OPENMETRICS],
    ["application/openmetrics-text", OPENMETRICS],
    ["text/plain", PROMETHEUS],
    ["text/html", OPENMETRICS],
    // Prometheus 2.0, 2.42, and 3.
    ["text/plain;version=0.0.4;q=1,*/*;q=0.1", PROMETHEUS],
    [
      "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
      OPENMETRICS,
    ],
    [
      "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
      PROMETHEUS,
    ],
    [
      "text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.9",
      OPENMETRICS,
    ],
  ];
  for (const [accept, format] of formats) {
    const headers: HeadersInit = accept === undefined ? {} : { accept };
    const { status, type, body } = await page(served.url("/metrics"), {
      headers,
    });
    assertEquals({ status, type }, { status: 200, type: format }, accept);
    assertEquals(body.endsWith("# EOF\n"), format === OPENMETRICS, accept);
  }
});

Deno.test("health is ok, or the reason why it is not", async () => {
  let reason: string | undefined;
  await using served = serve(() => reason);
  const type = "text/plain; charset=utf-8";
  const url = served.url("/healthz");
  assertEquals(await page(url), { status: 200, type, body: "ok\n" });
  reason = "the last sample is 40 s old";
  assertEquals(await page(url), { status: 503, type, body: `${reason}\n` });
  reason = "a\nok\n\x1b[2J\x9b\u202e does not answer";
  const body = "a\\nok\\n\\x1b[2J\\x9b\\u202e does not answer\n";
  assertEquals(await page(url), { status: 503, type, body });
  reason = undefined;
  assertEquals((await page(url)).status, 200);
});

Deno.test("other paths are not found, and other methods are not allowed", async () => {
  await using served = serve();
  for (const path of ["/", "/metrics/", "/etc/passwd", "/metrics%2f.."]) {
    assertEquals((await page(served.url(path))).status, 404);
  }
  const head = await page(served.url("/metrics"), { method: "HEAD" });
  assertEquals(head, { status: 200, type: OPENMETRICS, body: "" });
  for (const method of ["POST", "PUT", "DELETE"]) {
    const { status } = await page(served.url("/metrics"), { method });
    assertEquals(status, 405);
  }
});

Deno.test("an exception during an answer is reported to the client", async () => {
  await using served = serve(() => {
    throw new Error("no idea");
  });
  const { status, body } = await page(served.url("/healthz"));
  const expected = "rcap: internal error: no idea\n";
  assertEquals({ status, body }, { status: 500, body: expected });
});

Deno.test("a server ends at once, with its connections, and its port is free", async () => {
  const served = serve();
  const { server } = served;
  const { hostname, port } = server.address;
  using connection = await Deno.connect({ hostname, port });
  // A request that never ends.
  await connection.write(new TextEncoder().encode("GET /metrics HTTP/1.1\r\n"));
  await server[Symbol.asyncDispose]();
  await using _again = new MetricsServer({
    endConnection,
    address: server.address,
    metrics: served.metrics,
    health: () => undefined,
  });
});

/** Returns the error of listening on an address. */
function listenError(address: { hostname: string; port: number }): string {
  const metrics = new Metrics({ version: "1" });
  const health = () => undefined;
  const listen = () =>
    new MetricsServer({ address, metrics, health, endConnection });
  const error = assertThrows(listen, RcapError);
  assertEquals(error.exitCode, 1);
  return error.message;
}

Deno.test("a failure to listen names the address and the remedy", async () => {
  await using served = serve();
  const { port } = served.server.address;
  assertEquals(
    listenError(served.server.address),
    `cannot serve metrics at 127.0.0.1:${port}: the port is in use; choose another, or stop the program that has it (ss -ltnp names it)`,
  );
  // An address for documentation: RFC 5737.
  assertMatch(
    listenError({ hostname: "192.0.2.1", port: 0 }),
    /^cannot serve metrics at 192\.0\.2\.1:0: this machine has no such address; /,
  );
  assertMatch(
    listenError({ hostname: "no-such-host.invalid", port: 0 }),
    /^cannot serve metrics at no-such-host\.invalid:0: .+; choose another address$/,
  );
});

Deno.test("addresses are parsed and formatted, and others are refused", () => {
  const valid: [text: string, hostname: string, port: number][] = [
    ["127.0.0.1:7227", "127.0.0.1", 7227],
    ["localhost:1", "localhost", 1],
    ["my-host.example.org:65535", "my-host.example.org", 65535],
    ["0.0.0.0:7227", "0.0.0.0", 7227],
    ["[::1]:7227", "::1", 7227],
    ["[::]:7227", "::", 7227],
    // Loopback is the default host.
    [":7227", "127.0.0.1", 7227],
    ["7227", "127.0.0.1", 7227],
    [":0", "127.0.0.1", 0],
  ];
  for (const [text, hostname, port] of valid) {
    assertEquals(parseAddress(text), { hostname, port }, text);
  }
  const invalid: [text: string, reason: string][] = [
    ["", "is not an address"],
    ["localhost", "is not an address"],
    ["localhost:", "is not an address"],
    ["localhost:http", "is not an address"],
    ["localhost:-1", "is not an address"],
    ["localhost:7227/metrics", "is not an address"],
    ["http://localhost:7227", "is not an address"],
    ["localhost:65536", "has no port between 0 and 65535"],
    ["::1:7227", "is an IPv6 address without brackets or without a port"],
    ["::1", "is an IPv6 address without brackets or without a port"],
    ["[localhost]:7227", "has no IPv6 address in brackets"],
    ["[]:7227", "has no IPv6 address in brackets"],
    ["*:7227", "has an invalid host"],
    ["a b:7227", "has an invalid host"],
  ];
  for (const [text, reason] of invalid) {
    const error = assertThrows(() => parseAddress(text), UsageError);
    assertEquals(
      error.message,
      `--metrics: "${text}" ${reason}; write HOST:PORT (127.0.0.1:7227, [::1]:7227), or a port alone (7227) for this machine only`,
    );
  }
  assertEquals(formatAddress({ hostname: "::1", port: 1 }), "[::1]:1");
});

const CHILD =
  new URL("../../tests/support/metrics_child.ts", import.meta.url).pathname;

/** How long anything may take on a busy machine, in milliseconds. */
const PATIENCE_MS = 30_000;

/** Repeats a step until it returns a value. */
async function eventually<T>(
  step: () => Promise<T | undefined>,
  what: string,
): Promise<T> {
  const end = performance.now() + PATIENCE_MS;
  while (performance.now() < end) {
    const value = await step();
    if (value !== undefined) return value;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`${what}: not within ${PATIENCE_MS} ms`);
}

Deno.test("without free descriptors, metrics are still served, with one warning", async () => {
  await using cleanup = new AsyncDisposableStack();
  const child = new Deno.Command("sh", {
    // Hardly any descriptors.
    args: ["-c", 'ulimit -n 40; exec "$@"', "sh", Deno.execPath()]
      .concat(
        "run",
        "--quiet",
        "--no-prompt",
        "--allow-net",
        "--allow-ffi",
        CHILD,
      ),
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const said = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let hasEnded = false;
  const ended = child.status.finally(() => hasEnded = true);
  cleanup.defer(async () => {
    if (!hasEnded) child.kill("SIGKILL");
    await ended;
    await said.cancel();
  });
  const hostname = "127.0.0.1";
  const port = Number((await said.read()).value);
  const connections = cleanup.use(new DisposableStack());
  for (let i = 0; i < 60; i++) {
    // It never stops listening.
    connections.use(await Deno.connect({ hostname, port }));
  }
  assertMatch(
    (await said.read()).value ?? "",
    /^metrics: no client can connect for a while: Too many open files/,
  );
  const answer = () =>
    eventually(
      () => page(`http://${hostname}:${port}/healthz`).catch(() => undefined),
      "an answer",
    );
  for (let i = 0; i < 5; i++) assertEquals((await answer()).body, "ok\n");
  connections.dispose();
  assertEquals((await answer()).body, "ok\n");
  // There is no other warning.
  child.kill("SIGTERM");
  await ended;
  assertEquals((await said.read()).done, true);
});

Deno.test("connections leave enough descriptors for the daemon", () => {
  const cases: [descriptors: number, connections: number][] = [
    [Infinity, 32],
    [1_048_576, 32],
    [1024, 32],
    [256, 32],
    [255, 31],
    [64, 8],
    [40, 5],
    [7, 1],
    [0, 1],
  ];
  for (const [descriptors, connections] of cases) {
    assertEquals(mostConnections(descriptors), connections);
  }
});
