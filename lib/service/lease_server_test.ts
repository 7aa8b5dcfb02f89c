/**
 * Tests of lending references over a socket, and of its limits.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { LeaseClient } from "../observer/lease_client.ts";
import {
  type Answer,
  ANSWERS,
  messagesOf,
} from "../observer/lease_protocol.ts";
import { keyOf } from "../observer/reset_rights.ts";
import type { ProcessId } from "../platform/platform.ts";
import { LeaseServer, type LeaseServerOptions } from "./lease_server.ts";

const ONE = { pid: 1, startTime: 10 };
const TWO = { pid: 2, startTime: 20 };

/** Waits until a condition holds. */
async function until(condition: () => boolean): Promise<void> {
  const began = performance.now();
  while (!condition()) {
    assert(performance.now() - began < 10_000, "it takes too long");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A server that lends every process, and what it has lent. */
class TestServer implements AsyncDisposable {
  readonly lent: string[] = [];
  readonly lends: string[] = [];
  readonly warnings: string[] = [];
  readonly overs: string[] = [];
  ends = 0;
  answer: Answer = "granted";
  /** What each answer waits for. */
  ready: Promise<void> = Promise.resolve();
  readonly path: string;
  readonly #folder = Deno.makeTempDirSync({ prefix: "rcap-lease-" });
  readonly #server: LeaseServer;
  readonly #clients: LeaseClient[] = [];

  constructor(limits: LeaseServerOptions["limits"] = {}) {
    this.path = `${this.#folder}/socket`;
    this.#server = new LeaseServer({
      path: this.path,
      lend: async (id: ProcessId) => {
        this.lends.push(keyOf(id));
        await this.ready;
        if (this.answer === "granted") this.lent.push(keyOf(id));
        return this.answer;
      },
      takeBack: (id: ProcessId) => {
        while (this.lent.includes(keyOf(id))) {
          this.lent.splice(this.lent.indexOf(keyOf(id)), 1);
        }
      },
      warn: (text) => this.warnings.push(text),
      limits,
    });
  }

  async connect(): Promise<LeaseClient> {
    const client = await LeaseClient.connect(this.path, {
      onOver: (id) => this.overs.push(keyOf(id)),
      onEnd: () => this.ends++,
    });
    assert(client);
    this.#clients.push(client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client[Symbol.dispose]();
    await this.#server[Symbol.asyncDispose]();
    Deno.removeSync(this.#folder, { recursive: true });
    assertEquals(this.warnings, []);
    assertEquals(this.lent, [], "everything is taken back at the end");
  }
}

const { signal } = new AbortController();

Deno.test("a lease lasts until it is ended, and can be begun again", async () => {
  await using server = new TestServer();
  const client = await server.connect();
  assertEquals(await client.begin(ONE, signal), "granted");
  assertEquals(await client.begin(ONE, signal), "granted");
  assertEquals(server.lends, ["1 10", "1 10"]);
  assertEquals(await client.begin(TWO, signal), "granted");
  client.end(ONE);
  await until(() => !server.lent.includes("1 10"));
  assertEquals(server.lent, ["2 20"]);
});

Deno.test("a lease ends with the connection", async () => {
  await using server = new TestServer();
  const client = await server.connect();
  await client.begin(ONE, signal);
  client[Symbol.dispose]();
  await until(() => server.lent.length === 0);
});

Deno.test("one client at a time borrows a process", async () => {
  await using server = new TestServer();
  const [first, second] = [await server.connect(), await server.connect()];
  assertEquals(await first.begin(ONE, signal), "granted");
  assertEquals(await second.begin(ONE, signal), "busy");
  second.end(ONE);
  assertEquals(await second.begin(TWO, signal), "granted");
  assertEquals(server.lent, ["1 10", "2 20"]);
  first[Symbol.dispose]();
  await until(() => !server.lent.includes("1 10"));
  assertEquals(await second.begin(ONE, signal), "granted");
});

Deno.test("a lease that lasts too long ends by itself, and the client is told", async () => {
  await using server = new TestServer({ leaseTime: 50 });
  const client = await server.connect();
  await client.begin(ONE, signal);
  await until(() => server.overs.length > 0);
  assertEquals(server.overs, ["1 10"]);
  assertEquals(server.lent, []);
  assertEquals(await client.begin(ONE, signal), "granted");
});

Deno.test("what is not granted is not lent", async () => {
  await using server = new TestServer();
  const [first, second] = [await server.connect(), await server.connect()];
  for (const answer of ["free", "failed"] as const) {
    server.answer = answer;
    assertEquals(await first.begin(ONE, signal), answer);
  }
  assertEquals(server.lent, []);
  server.answer = "granted";
  assertEquals(await second.begin(ONE, signal), "granted");
});

Deno.test("only the owner of the socket may connect", async () => {
  await using server = new TestServer();
  assertEquals(Deno.statSync(server.path).mode! & 0o777, 0o600);
});

Deno.test("a client that goes while it waits borrows nothing", async () => {
  await using server = new TestServer();
  const { promise, resolve } = Promise.withResolvers<void>();
  server.ready = promise;
  const client = await server.connect();
  const answer = client.begin(ONE, signal);
  await until(() => server.lends.length === 1);
  client[Symbol.dispose]();
  assertEquals(await answer, undefined);
  resolve();
  await until(() => server.lent.length === 0);
  server.ready = Promise.resolve();
  assertEquals(await (await server.connect()).begin(ONE, signal), "granted");
});

Deno.test("silent clients are disconnected, those with a lease stay", async () => {
  await using server = new TestServer({ idleTime: 50 });
  const borrower = await server.connect();
  assertEquals(await borrower.begin(ONE, signal), "granted");
  await server.connect();
  await until(() => server.ends === 1);
  assertEquals(server.lent, ["1 10"]);
  assertEquals(await borrower.begin(ONE, signal), "granted");
});

Deno.test("too many clients are turned away, and the others stay", async () => {
  await using server = new TestServer({ clients: 2 });
  const first = await server.connect();
  assertEquals(await first.begin(ONE, signal), "granted");
  await server.connect();
  await server.connect();
  await until(() => server.ends === 1);
  assertEquals(await first.begin(ONE, signal), "granted");
});

Deno.test("a client that sends anything else is disconnected", async () => {
  await using server = new TestServer();
  for (const text of ["hello\n", "begin 1 1 1\n", "a".repeat(1000)]) {
    using stream = await Deno.connect({ transport: "unix", path: server.path });
    await stream.write(new TextEncoder().encode(text));
    assertEquals(await Array.fromAsync(messagesOf(stream, ANSWERS)), []);
  }
  assertEquals(server.lends, []);
});

Deno.test("nobody listens: there is no client", async () => {
  const events = { onOver: () => {}, onEnd: () => {} };
  assertEquals(await LeaseClient.connect("/nowhere/socket", events), undefined);
});
