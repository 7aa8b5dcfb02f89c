/**
 * Tests of the watch of pods against an API server that replays exchanges over HTTPS.
 *
 * No API server runs here: the exchanges follow the examples of Kubernetes' documentation
 * of its API, and a test checks them against the schemas of Kubernetes.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { WatchEvent } from "@kubernetes-models/apimachinery/apis/meta/v1/WatchEvent";
import { ListMeta } from "@kubernetes-models/apimachinery/apis/meta/v1/ListMeta";
import { ObjectMeta } from "@kubernetes-models/apimachinery/apis/meta/v1/ObjectMeta";
import { Status } from "@kubernetes-models/apimachinery/apis/meta/v1/Status";
import "../ffi/testing.ts";
import { linuxFiles } from "../ffi/linux_files.ts";
import { ownApiServer } from "../lib/kubernetes/api_server.ts";
import { PodWatch } from "../lib/kubernetes/pod_watch.ts";
import { fasterClock, systemClock } from "../lib/platform/clock.ts";
import { Log } from "../lib/platform/output.ts";
import {
  type Exchange,
  exchangesOf,
  recordings,
  ReplayedApiServer,
} from "./support/api_server.ts";
import { until } from "./support/workload.ts";

/** How many times as fast time passes for the watch. */
const HURRY = 10;

/** A watch of pods of a replayed server. */
class Watched implements AsyncDisposable {
  readonly lines: string[] = [];
  changes = 0;
  readonly watch: PodWatch;
  readonly #held = new AsyncDisposableStack();

  constructor(server: ReplayedApiServer) {
    const own = this.#held.use(
      ownApiServer(linuxFiles, {
        env: (name) => server.env[name],
        account: server.account,
      }),
    );
    this.watch = this.#held.use(
      new PodWatch({
        server: own,
        clock: fasterClock(systemClock, HURRY),
        log: new Log("info", { write: (line) => this.lines.push(line.trim()) }),
        onChange: () => this.changes++,
      }),
    );
  }

  /** The annotations of the pods, by their names. */
  get pods(): Record<string, Record<string, string>> {
    return Object.fromEntries(
      this.watch.pods.map(({ namespace, name, annotations }) => [
        `${namespace}/${name}`,
        Object.fromEntries(annotations),
      ]),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#held[Symbol.asyncDispose]();
    // What is aborted ends on the next turn of the event loop.
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

Deno.test("a watch goes on after restarts, expired versions, garbage and errors", async () => {
  const exchanges = exchangesOf("lifecycle.json");
  await using server = await ReplayedApiServer.start(exchanges);
  await using watched = new Watched(server);
  const { watch } = watched;

  await server.untilDone(3);
  await until(
    () => watched.pods["shop/web-1"] !== undefined,
    "the events of the first watch",
  );
  await server.untilDone(4);
  assertEquals(watched.pods, {
    "shop/web-0": { "max-rss": "1G" },
    "shop/web-1": { "max-rss": "25%" },
  });
  // Version expired: what has gone is known by the list.
  await server.untilDone(7);
  assertEquals(watched.pods, {
    "shop/web-0": { "max-rss": "1G" },
    "shop/api-0": { "max-rss": "512M", "idle": "auto" },
  });
  await server.untilDone(10);
  await until(
    () => watch.state.problem?.includes("leader changed") === true,
    "the failure to be told",
  );
  // While lists fail, what was known stays.
  assertEquals(Object.keys(watched.pods).length, 2);
  assertEquals(watch.state.isWatching, false);
  await server.untilDone(11);
  server.writeToken("second");
  await server.untilDone(exchanges.length);
  await until(
    () => watched.pods["shop/web-0"]?.["max-rss"] === "3G",
    "the event of the last watch",
  );
  assertEquals(watch.state, {
    node: "node-1",
    pods: 1,
    isWatching: true,
    heardAt: watch.state.heardAt,
    problem: null,
  });
  assert(Date.now() / 1000 - (watch.state.heardAt ?? 0) < 10);
  assertEquals(server.tokens.slice(0, 11), Array(11).fill("first"));
  assertEquals(server.tokens.at(-1), "second");
  await until(() => watched.changes > 0, "the changes to be announced");

  const told = watched.lines.join("\n");
  assertMatch(
    told,
    /its answer is not JSON; the caps of 2 pods stay as they were last known/,
  );
  assertMatch(told, /it answers 500 .*: etcdserver: leader changed; the caps/);
  assertMatch(told, /401 .*; the token of the service account is not valid/);
  assertMatch(told, /it ends the watch: watch cache is overloaded/);
  assertMatch(told, /the API server of Kubernetes answers again/);
});

Deno.test("a server that has gone is told, and found again when it is back", async () => {
  const [list, ...rest] = exchangesOf("lifecycle.json").slice(0, 3);
  const body = { ...list.body as object, metadata: { resourceVersion: "100" } };
  const watch: Exchange = { ...rest[1], pieces: undefined, then: "hang" };
  await using server = await ReplayedApiServer.start([
    { ...list, body },
    watch,
  ]);
  await using watched = new Watched(server);
  await server.untilDone(2);
  await until(() => watched.pods["shop/web-1"] !== undefined, "the events");
  await server.shutDown();
  await until(
    () => watched.watch.state.problem !== null,
    "the end of the server to be noticed",
  );
  assertMatch(watched.watch.state.problem ?? "", /cannot be reached|body/);
  assertEquals(Object.keys(watched.pods), ["shop/web-0", "shop/web-1"]);
  server.add({
    what: "the watch goes on where it was",
    query: { watch: "1", resourceVersion: "112" },
    lines: [],
    then: "hang",
  });
  server.listen();
  await server.untilDone(3);
  await until(() => watched.watch.state.isWatching, "the watch to go on");
});

Deno.test("a server with another certificate authority is not trusted", async () => {
  await using other = await ReplayedApiServer.start([]);
  await using server = await ReplayedApiServer.start([]);
  Deno.copyFileSync(`${other.account}/ca.crt`, `${server.account}/ca.crt`);
  await using watched = new Watched(server);
  await until(
    () => watched.watch.state.problem !== null,
    "the server to be refused",
  );
  assertMatch(watched.watch.state.problem ?? "", /certificate/);
  assertEquals(server.tokens, []);
});

Deno.test("without a service account, the problem names its files", async () => {
  await using server = await ReplayedApiServer.start([]);
  Deno.removeSync(`${server.account}/token`);
  await using watched = new Watched(server);
  await until(() => watched.watch.state.problem !== null, "the problem");
  assertMatch(
    watched.watch.state.problem ?? "",
    /account\/token cannot be read .*No such file.*; the pod needs a service account/,
  );
});

Deno.test("what is wrong with an account is told, without its token", async () => {
  await using server = await ReplayedApiServer.start([]);
  const problemWith = async (file: string, text: string) => {
    const path = `${server.account}/${file}`;
    const before = Deno.readTextFileSync(path);
    Deno.writeTextFileSync(path, text);
    await using watched = new Watched(server);
    await until(() => watched.watch.state.problem !== null, "the problem");
    Deno.writeTextFileSync(path, before);
    return watched.watch.state.problem ?? "";
  };
  for (const token of ["secret\nsecret", "secret\x01", "secret\u00e9"]) {
    const problem = await problemWith("token", token);
    assertMatch(problem, /account\/token is not a token; the pod needs/);
    assertEquals(problem.includes("secret"), false);
  }
  assertMatch(await problemWith("token", "\n"), /account\/token is empty;/);
  assertMatch(
    await problemWith(
      "ca.crt",
      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ),
    /account\/ca\.crt has no certificates \(.*BadEncoding\); the pod needs/,
  );
  assertEquals(server.tokens, []);
});

Deno.test("a server that is away is told once, and where it should be", async () => {
  await using server = await ReplayedApiServer.start([]);
  const port = server.env.KUBERNETES_SERVICE_PORT;
  // It accepts connections, each from another port, and closes them.
  await server.shutDown();
  using listener = Deno.listen({ hostname: "127.0.0.1", port: Number(port) });
  let connections = 0;
  const closing = (async () => {
    for await (const connection of listener) {
      connections++;
      // Closed with nothing unread, so that each end looks the same.
      await connection.read(new Uint8Array(65536));
      connection.close();
    }
  })();
  {
    await using watched = new Watched(server);
    await until(() => connections >= 4, "four connections", 20_000);
    assertEquals(watched.lines.length, 1, watched.lines.join("\n"));
    assertMatch(
      watched.lines[0],
      /it cannot be reached at https:\/\/127\.0\.0\.1:\d+: client error/,
    );
    assert(!watched.lines[0].includes("fieldSelector"));
  }
  listener.close();
  await closing;
});

Deno.test("the exchanges conform to the schemas of Kubernetes", () => {
  let checked = 0;
  /** A part with the model of Kubernetes for it. */
  const check = (
    Model: new (data: never) => { validate(): void },
    data: unknown,
  ) => {
    // The models take what they validate.
    new Model(data as never).validate();
    checked++;
  };
  const checkObject = (object: { kind: string; metadata: unknown }) => {
    if (object.kind === "Status") check(Status, object);
    else check(ObjectMeta, object.metadata);
  };
  for (const name of recordings()) {
    for (const { body, lines } of exchangesOf(name)) {
      for (const line of lines ?? []) {
        check(WatchEvent, line);
        const { object } = line as { object: never };
        checkObject(object);
      }
      // Bodies are lists or statuses.
      const { kind, metadata, items } = (body ?? {}) as {
        kind?: string;
        metadata?: unknown;
        items?: never[];
      };
      if (kind === "Status") check(Status, body);
      if (kind !== "PartialObjectMetadataList") continue;
      check(ListMeta, metadata);
      items?.forEach(checkObject);
    }
  }
  assert(checked > 30, `${checked} parts were checked`);
});
