/**
 * Tests of the HTTP server, over real connections.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { endConnection } from "../../ffi/linux_socket.ts";
import "../../ffi/testing.ts";
import type { HttpRequest } from "./http_request.ts";
import { type HttpLimits, HttpServer } from "./http_server.ts";

/** How long anything may take on a busy machine, in milliseconds. */
const PATIENCE_MS = 30_000;

/** A deadline that no test reaches. */
const LONG_MS = 10 * PATIENCE_MS;

/** More than the buffers of a connection hold. */
const LARGE = "x".repeat(2 ** 24);

const OK = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/** A server that answers with the method and path of the request. */
function serve(limits: Partial<HttpLimits> = {}) {
  const warnings: string[] = [];
  const server = new HttpServer({
    endConnection,
    address: { hostname: "127.0.0.1", port: 0 },
    answer: ({ method, path }: HttpRequest) => {
      if (path === "/fault") throw new Error("no idea");
      const body = path === "/large" ? LARGE : `${method} ${path}`;
      return { status: 200, body, headers: { "x-test": "1" } };
    },
    refuse: (status, reason) => ({ status, body: reason, headers: {} }),
    warn: (message) => warnings.push(message),
    limits: { requestTime: LONG_MS, idleTime: LONG_MS, ...limits },
  });
  return {
    server,
    warnings,
    connect: async () => new Client(await Deno.connect(server.address)),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      assertEquals(warnings, []);
    },
  };
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A client that sends arbitrary bytes. */
class Client implements Disposable {
  readonly #stream: Deno.TcpConn;

  constructor(stream: Deno.TcpConn) {
    this.#stream = stream;
  }

  async send(text: string): Promise<void> {
    const bytes = encoder.encode(text);
    for (let at = 0; at < bytes.length;) {
      at += await this.#stream.write(bytes.subarray(at));
    }
  }

  /** Reads until the text is the one a test waits for, or the connection ends. */
  async receive(isEnough: (text: string) => boolean): Promise<string> {
    let text = "";
    const buffer = new Uint8Array(2 ** 16);
    while (!isEnough(text)) {
      const count = await this.#read(buffer);
      if (count === null) break;
      text += decoder.decode(buffer.subarray(0, count));
    }
    return text;
  }

  /** Reads until the connection ends, which has to be soon. */
  async rest(): Promise<string> {
    return await this.receive(() => false);
  }

  async #read(buffer: Uint8Array): Promise<number | null> {
    const timer = setTimeout(() => {
      throw new Error(`neither bytes nor an end within ${PATIENCE_MS} ms`);
    }, PATIENCE_MS);
    try {
      return await this.#stream.read(buffer);
    } catch (error) {
      // Closed with unread data.
      if (error instanceof Deno.errors.ConnectionReset) return null;
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async closeWrite(): Promise<void> {
    await this.#stream.closeWrite();
  }

  [Symbol.dispose](): void {
    this.#stream.close();
  }
}

/** Sends bytes, and returns the answer up to the end of the connection. */
async function answerTo(
  served: ReturnType<typeof serve>,
  text: string,
): Promise<string> {
  using client = await served.connect();
  await client.send(text);
  return await client.rest();
}

function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1]);
}

Deno.test("an answer has its length and a date, and the last one closes", async () => {
  await using served = serve();
  const answer = await answerTo(
    served,
    "GET /%C3%A9 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
  );
  assertMatch(
    answer,
    /^HTTP\/1\.1 200 OK\r\nx-test: 1\r\ndate: \w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT\r\ncontent-length: 11\r\nconnection: close\r\n\r\nGET \/%C3%A9$/,
  );
  assertEquals(
    statusOf(await answerTo(served, "GET / HTTP/1.0\r\n\r\n")),
    200,
  );
});

Deno.test("a connection takes several requests, sent together or in pieces", async () => {
  await using served = serve();
  using client = await served.connect();
  const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
  await client.send(get("/1"));
  assertMatch(await client.receive((text) => text.endsWith("GET /1")), /200/);
  await client.send(get("/2") + get("/3") + "\r\n\r\n" + get("/4"));
  const three = await client.receive((text) => text.endsWith("GET /4"));
  assertEquals(three.match(/GET \/\d/g), ["GET /2", "GET /3", "GET /4"]);
  assert(!three.includes("connection: close"));
  for (const letter of `\r\n${get("/5")}`) await client.send(letter);
  await client.receive((text) => text.endsWith("GET /5"));
  // A client that has closed its side still gets all answers.
  await client.send(get("/6"));
  await client.closeWrite();
  assertMatch(await client.rest(), /GET \/6$/);
});

Deno.test("HEAD has the fields of GET and no body, even if it fails", async () => {
  await using served = serve();
  const close = "Host: a\r\nConnection: close\r\n\r\n";
  const head = await answerTo(served, `HEAD / HTTP/1.1\r\n${close}`);
  assertMatch(head, /\r\ncontent-length: 6\r\n/);
  assert(head.endsWith("\r\n\r\n"), head);
  const fault = await answerTo(served, `HEAD /fault HTTP/1.1\r\n${close}`);
  assertEquals(statusOf(fault), 500);
  assert(fault.endsWith("\r\n\r\n"), fault);
});

Deno.test("a refusal says why, and ends the connection", async () => {
  await using served = serve();
  const long = "x".repeat(9000);
  const cases: [status: number, text: string][] = [
    [400, "GET / HTTP/1.1\r\n\r\n"],
    [400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"],
    [400, "\x16\x03\x01\x02\x00\x01\x00\n\n"],
    [405, "PUT / HTTP/1.1\r\nHost: a\r\n\r\n"],
    [
      413,
      "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na",
    ],
    [413, `GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde`],
    [414, `GET /${long} HTTP/1.1\r\nHost: a\r\n\r\n`],
    [431, `GET / HTTP/1.1\r\nHost: a\r\nX: ${long}\r\n\r\n`],
    [431, `GET / HTTP/1.1\r\nHost: a\r\n${"X: y\r\n".repeat(2000)}\r\n`],
    [500, "GET /fault HTTP/1.1\r\nHost: a\r\n\r\n"],
    [505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ];
  for (const [status, text] of cases) {
    const answer = await answerTo(served, text);
    assertEquals(statusOf(answer), status, text.slice(0, 80));
    assertMatch(answer, /\r\nconnection: close\r\n\r\n./);
    assert(!/\n\s+at /.test(answer), answer);
  }
});

Deno.test("a refusal arrives even while its client goes on sending", async () => {
  await using served = serve();
  using client = await served.connect();
  await client.send(
    `PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n`,
  );
  await client.send("x".repeat(50_000)).catch(() => {});
  assertEquals(statusOf(await client.rest()), 413);
});

Deno.test("a client that sends nothing, or one byte now and then, is disconnected", async () => {
  await using served = serve({ requestTime: 300 });
  using silent = await served.connect();
  assertEquals(await silent.rest(), "");
  using slow = await served.connect();
  const trickle = setInterval(() => slow.send("x").catch(() => {}), 20);
  try {
    await slow.send("GET / HTTP/1.1\r\nHost: a\r\nX: ");
    assertEquals(await slow.rest(), "");
  } finally {
    clearInterval(trickle);
  }
  // Empty lines do not begin a request, and do not keep a connection open.
  using empty = await served.connect();
  const lines = setInterval(() => empty.send("\r\n").catch(() => {}), 20);
  try {
    assertEquals(await empty.rest(), "");
  } finally {
    clearInterval(lines);
  }
});

Deno.test("an unused connection is closed", async () => {
  await using served = serve({ idleTime: 200 });
  using client = await served.connect();
  await client.send(OK);
  // Its answer, and the end of the connection.
  assertMatch(await client.rest(), /GET \/$/);
});

Deno.test("a client that does not read its answer is disconnected", async () => {
  await using served = serve({ requestTime: 500 });
  using client = await served.connect();
  await client.send(`GET /large HTTP/1.1\r\nHost: a\r\n\r\n`);
  const end = performance.now() + PATIENCE_MS;
  while (served.server.connections > 0) {
    assert(performance.now() < end, "it is still connected");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  // Only what was in the buffers arrives.
  const received = await client.rest();
  assert(received.length < LARGE.length, `${received.length} bytes`);
});

Deno.test("a new connection beyond the limit replaces the one with the longest turn", async () => {
  await using served = serve({ connections: 4 });
  await using held = new AsyncDisposableStack();
  const connect = async () => held.use(await served.connect());
  // One client sends a request and is idle since; three send none.
  const first = await connect();
  await first.send(OK);
  await first.receive((text) => text.endsWith("GET /"));
  const others = [await connect(), await connect(), await connect()];
  // Half a request, and more bytes of it, do not begin a new turn.
  for (const other of others) await other.send("GET / HT");
  const fifth = await connect();
  await fifth.send(OK);
  assertMatch(await fifth.receive((text) => text.endsWith("GET /")), /200/);
  assertEquals(await first.rest(), "");
  assertEquals(served.server.connections, 4);
  for (let i = 0; i < 3; i++) {
    await others[i].send("TP/");
    const client = await connect();
    await client.send(OK);
    assertMatch(await client.receive((text) => text.endsWith("GET /")), /200/);
    assertEquals(await others[i].rest(), "");
  }
});

Deno.test("many requests sent together do not begin a new turn", async () => {
  await using served = serve({ connections: 2 });
  using greedy = await served.connect();
  const many = OK.repeat(20_000);
  // Fails once the connection is replaced.
  const sent = greedy.send(many).catch(() => {});
  await greedy.receive((text) => text.length > 1000);
  using first = await served.connect();
  await first.send("GET");
  using second = await served.connect();
  await second.send(OK);
  assertMatch(await second.receive((text) => text.endsWith("GET /")), /200/);
  await first.send(OK.slice(3));
  assertMatch(await first.receive((text) => text.endsWith("GET /")), /200/);
  await greedy.rest();
  await sent;
});

Deno.test("200 misbehaving connections of every kind keep no client out", async () => {
  await using served = serve();
  await using held = new AsyncDisposableStack();
  const beginnings = [
    "",
    "GET / HTTP/1.1\r\nHost: a\r\nX-",
    "\r\n",
    `GET /large HTTP/1.1\r\nHost: a\r\n\r\n`,
    OK,
  ];
  for (let i = 0; i < 200; i++) {
    const client = held.use(await served.connect());
    // It may have been replaced already.
    await client.send(beginnings[i % beginnings.length]).catch(() => {});
    assert(served.server.connections <= 32, `${served.server.connections}`);
    if (i % 10 !== 9) continue;
    const answer = await answerTo(
      served,
      "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assertMatch(answer, /200 OK[^]*GET \/healthz$/);
  }
});

Deno.test("closing ends connections in any state at once, and frees the port", async () => {
  const served = serve();
  const { address } = served.server;
  using silent = await served.connect();
  using half = await served.connect();
  await half.send("GET / HTTP/1.1\r\n");
  using full = await served.connect();
  await full.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
  await full.receive((text) => text.length > 0);
  await served[Symbol.asyncDispose]();
  assertEquals(await silent.rest(), "");
  assertEquals(await half.rest(), "");
  await full.rest();
  using _again = Deno.listen(address);
});
