/**
 * Tests of when pods are listed and watched, in simulated time. Answers over HTTPS are in
 * tests/kubernetes_watch_test.ts.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { RcapError } from "../errors.ts";
import { Log } from "../platform/output.ts";
import { SimulatedClock } from "../platform/simulated_clock.ts";
import { MOST_PODS, PodWatch } from "./pod_watch.ts";

/** What a server is asked for, and when. */
interface Asked {
  readonly at: number;
  readonly query: URLSearchParams;
}

type Answer = (asked: Asked, signal: AbortSignal) => string | ReadableStream;

/** A watch of what a function answers. */
class Simulated implements Disposable {
  readonly clock = new SimulatedClock();
  readonly asked: Asked[] = [];
  readonly lines: string[] = [];
  readonly changes: number[] = [];
  readonly watch: PodWatch;

  constructor(answer: Answer, random = () => 1) {
    this.watch = new PodWatch({
      clock: this.clock,
      random,
      log: new Log("debug", { write: (line) => this.lines.push(line) }),
      onChange: () => this.changes.push(this.clock.now()),
      server: {
        node: "node-1",
        get: (path, { signal }) => {
          const query = new URL(path, "https://server").searchParams;
          const asked = { at: this.clock.now(), query };
          this.asked.push(asked);
          try {
            const body = answer(asked, signal);
            return Promise.resolve(
              typeof body === "string" ? streamOf(body) : body,
            );
          } catch (error) {
            return Promise.reject(error);
          }
        },
      },
    });
  }

  [Symbol.dispose](): void {
    this.watch[Symbol.dispose]();
  }
}

function streamOf(text: string): ReadableStream<Uint8Array> {
  return new Blob([text]).stream();
}

/** A stream that goes on until the signal is aborted. */
function hanging(text: string, signal: AbortSignal): ReadableStream {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(text));
      signal.addEventListener("abort", () => controller.error(signal.reason));
    },
  });
}

function isWatch({ query }: Asked): boolean {
  return query.has("watch");
}

function podOf(name: string, annotations: Record<string, string>) {
  return {
    metadata: { name, namespace: "shop", resourceVersion: "1", annotations },
  };
}

function list(...items: unknown[]): string {
  return JSON.stringify({ metadata: { resourceVersion: "1" }, items });
}

function added(name: string, size: string): string {
  const object = podOf(name, { "rcap.dev/max-rss": size });
  return `${JSON.stringify({ type: "ADDED", object })}\n`;
}

Deno.test("after failures, a node waits longer and longer, and not as long as others", async () => {
  for (const [random, share] of [[() => 1, 1], [() => 0, 0.5]] as const) {
    using simulated = new Simulated(() => {
      throw new RcapError("it cannot be reached");
    }, random);
    await simulated.clock.advance(200_000);
    const waits = simulated.asked.map(({ at }, index, all) =>
      (at - (all[index - 1]?.at ?? 0)) / 1000
    );
    assertEquals(
      waits.slice(0, 9),
      [0, 1, 2, 4, 8, 16, 32, 60, 60].map((seconds) => seconds * share),
    );
    // One problem is logged once.
    assertEquals(simulated.lines.length, 1);
    assertEquals(simulated.watch.state.isWatching, false);
  }
});

Deno.test("an answer that does not come, and a connection that died, are given up", async () => {
  using simulated = new Simulated((asked, signal) =>
    isWatch(asked) ? hanging("", signal) : list()
  );
  await simulated.clock.advance(10);
  assertEquals(simulated.watch.state.isWatching, true);
  const seconds = Number(simulated.asked[1].query.get("timeoutSeconds"));
  assertEquals(seconds, 600);
  await simulated.clock.advance((seconds + 29) * 1000);
  assertEquals(simulated.asked.length, 2);
  await simulated.clock.advance(3000);
  assertEquals(simulated.asked.length, 3, "the watch is asked for again");
  assert(simulated.asked.slice(2).every(isWatch), "and no list");
  assert(simulated.lines[0].includes("it does not answer in time"));

  using silent = new Simulated((_, signal) => hanging("", signal));
  await silent.clock.advance(30_100);
  assertEquals(silent.watch.state.problem, "it does not answer in time");
});

Deno.test("a page that is too large is asked for in small ones", async () => {
  const large = list(podOf("big", { "other": "x".repeat(11 << 20) }));
  using simulated = new Simulated((asked, signal) => {
    if (isWatch(asked)) return hanging("", signal);
    return asked.query.get("limit") !== "1"
      ? large
      : list(podOf("web-0", { "rcap.dev/max-rss": "1G" }));
  });
  await simulated.clock.advance(1000);
  assertEquals(
    simulated.asked.map(({ query }) => [
      query.get("limit"),
      query.get("resourceVersion"),
    ]),
    [["500", "0"], ["20", null], ["1", null], [null, "1"]],
  );
  assertEquals(simulated.watch.pods.map(({ name }) => name), ["web-0"]);
});

Deno.test("the largest pod that a user can make keeps no other from its cap", async () => {
  // 1.5 MiB in etcd, each byte of which is six in JSON as the API server writes it.
  const largest = {
    ...podOf("big", {}).metadata,
    ownerReferences: [{ uid: "<".repeat(3 << 19) }],
  };
  const text = (value: unknown) =>
    JSON.stringify(value).replaceAll("<", "\\u003c");
  using simulated = new Simulated((asked, signal) => {
    if (isWatch(asked)) {
      const event = { type: "ADDED", object: { metadata: largest } };
      return hanging(`${text(event)}\n${added("b", "1G")}`, signal);
    }
    const pods = [
      { metadata: largest },
      { metadata: { ...largest, name: "big-2" } },
      podOf("a", { "rcap.dev/max-rss": "1G" }),
    ];
    const limit = Number(asked.query.get("limit"));
    const from = Number(asked.query.get("continue") ?? 0);
    const rest = pods.length > from + limit ? `${from + limit}` : "";
    return text({
      metadata: { resourceVersion: "1", continue: rest },
      items: pods.slice(from, from + limit),
    });
  });
  await simulated.clock.advance(10_000);
  assertEquals(simulated.lines, []);
  assertEquals(simulated.watch.pods.map(({ name }) => name), ["a", "b"]);
});

Deno.test("a line that is too long is an event that was lost: the pods are listed", async () => {
  let watches = 0;
  using simulated = new Simulated((asked, signal) => {
    if (!isWatch(asked)) return list();
    return ++watches === 1
      ? `${"x".repeat(11 << 20)}\n`
      : hanging(added("a", "1G"), signal);
  });
  await simulated.clock.advance(3000);
  assertEquals(simulated.asked.map(isWatch), [false, true, false, true]);
  assertEquals(simulated.watch.pods.length, 1);
});

Deno.test("a server that ends every watch at once is not asked without end", async () => {
  using simulated = new Simulated((asked) => isWatch(asked) ? "" : list());
  await simulated.clock.advance(120_000);
  assert(simulated.asked.length < 10, `${simulated.asked.length}`);
});

Deno.test("changes are announced together, and only those of rcap's annotations", async () => {
  using simulated = new Simulated((asked, signal) =>
    isWatch(asked)
      ? hanging(
        added("a", "1G") + added("b", "1G") + added("a", "2G") +
          added("a", "1G"),
        signal,
      )
      : list(podOf("plain", { "example.com/x": "y" }))
  );
  await simulated.clock.advance(60_000);
  assertEquals(simulated.changes, [5000]);

  using quiet = new Simulated((asked, signal) =>
    isWatch(asked)
      ? hanging(
        `${
          JSON.stringify({ type: "ADDED", object: podOf("c", { x: "y" }) })
        }\n`,
        signal,
      )
      : list()
  );
  await quiet.clock.advance(60_000);
  assertEquals(quiet.changes, []);
});

Deno.test("of too many pods, the others are left out and counted", async () => {
  const pods = Array.from(
    { length: MOST_PODS + 5 },
    (_, index) => podOf(`p-${index}`, { "rcap.dev/idle": "10m" }),
  );
  using simulated = new Simulated((asked, signal) =>
    isWatch(asked) ? hanging("", signal) : list(...pods)
  );
  await simulated.clock.advance(100);
  assertEquals(simulated.watch.pods.length, MOST_PODS);
  assertEquals(simulated.watch.leftOut, 5);
});

Deno.test("nothing is asked for after the end", async () => {
  const simulated = new Simulated((asked, signal) =>
    isWatch(asked) ? hanging("", signal) : list()
  );
  await simulated.clock.advance(1000);
  simulated[Symbol.dispose]();
  await simulated.clock.advance(3_600_000);
  assertEquals(simulated.asked.length, 2);
  assertEquals(simulated.lines, []);
});
