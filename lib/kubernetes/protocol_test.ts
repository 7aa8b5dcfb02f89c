/**
 * Tests of what is understood of the API server's answers.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import fc from "fast-check";
import "../../tests/support/deadline.ts";
import { fuzzSeed } from "../../tests/support/fuzzing.ts";
import {
  LONGEST_VALUE,
  MalformedAnswer,
  parseEvent,
  parsePage,
} from "./protocol.ts";

function pod(name: string, annotations?: Record<string, string> | null) {
  return {
    kind: "PartialObjectMetadata",
    apiVersion: "meta.k8s.io/v1",
    metadata: { name, namespace: "shop", resourceVersion: "7", annotations },
  };
}

function event(type: string, object: unknown): string {
  return JSON.stringify({ type, object });
}

Deno.test("a page has the annotations of rcap, and where to go on", () => {
  const page = parsePage(JSON.stringify({
    kind: "PartialObjectMetadataList",
    metadata: { resourceVersion: "42", continue: "abc" },
    items: [
      pod("web-0", { "rcap.dev/max-rss": "2G", "example.com/other": "x" }),
      pod("none"),
      pod("null", null),
    ],
  }));
  assertEquals(page.resourceVersion, "42");
  assertEquals(page.continue, "abc");
  assertEquals(page.size, 3);
  assertEquals(
    page.pods.map(({ name, annotations }) => [name, ...annotations]),
    [["web-0", ["max-rss", "2G"]], ["none"], ["null"]],
  );
  const empty = JSON.stringify({
    metadata: { resourceVersion: "1" },
    items: null,
  });
  assertEquals(parsePage(empty).pods, []);
});

Deno.test("what is not a pod is left out of a page", () => {
  const page = parsePage(JSON.stringify({
    metadata: { resourceVersion: "42" },
    items: [
      null,
      { metadata: { name: "a" } },
      pod("../etc"),
      pod("a".repeat(254)),
      pod("A"),
      pod("a*"),
      pod("good", { "rcap.dev/idle": "10m" }),
      { ...pod("bad"), metadata: { ...pod("x").metadata, annotations: [1] } },
    ],
  }));
  assertEquals(page.pods.map(({ name }) => name), ["good"]);
});

Deno.test("little of annotations is kept", () => {
  const annotations = Object.fromEntries(
    Array.from({ length: 100 }, (_, index) => [
      `rcap.dev/${"k".repeat(300)}${index}`,
      "x".repeat(200_000),
    ]),
  );
  const parsed = parseEvent(event("ADDED", pod("web-0", annotations)));
  if (parsed.type !== "ADDED") throw new Error("it was added");
  const kept = [...parsed.pod.annotations];
  assertEquals(kept.length <= 8, true);
  for (const [key, value] of kept) {
    assertEquals(key.length, LONGEST_VALUE + 1);
    assertEquals(value.length, LONGEST_VALUE + 1);
  }
});

Deno.test("of a long value, no more is kept in memory", async () => {
  // A process whose garbage can be collected when it is measured.
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      "--v8-flags=--expose-gc",
      `import { parseEvent } from "${new URL("protocol.ts", import.meta.url)}";
       const text = ${
        JSON.stringify(event("ADDED", pod("a", { "rcap.dev/idle": "LONG" })))
      };
       const kept = Array.from({ length: 100 }, () =>
         parseEvent(text.replace("LONG", "x".repeat(1 << 20))));
       gc();
       console.log(Deno.memoryUsage().heapUsed, kept.length);`,
    ],
    stderr: "inherit",
  }).output();
  const [size, count] = new TextDecoder().decode(stdout).split(" ").map(Number);
  assertEquals(count, 100);
  assert(size < 50 << 20, `${size} bytes`);
});

Deno.test("names are those that Kubernetes allows", () => {
  // IsDNS1123Subdomain: only the whole is limited.
  const good = ["a", "0", "a-b.c--d.0", "a".repeat(253), "web-0"];
  const bad = ["", "-a", "a-", "a.", ".a", "a..b", "a.-b", "a_b", "a/b", "a\n"];
  for (const name of [...good, ...bad]) {
    const { type } = parseEvent(event("ADDED", pod(name)));
    assertEquals(type, good.includes(name) ? "ADDED" : "BOOKMARK", name);
  }
});

Deno.test("an event about what is not a pod does not end the watch", () => {
  for (
    const metadata of [
      { ...pod("../etc").metadata },
      { ...pod("a").metadata, namespace: "n".repeat(64) },
      { ...pod("a").metadata, annotations: { "rcap.dev/idle": 1 } },
    ]
  ) {
    assertEquals(parseEvent(event("ADDED", { metadata })), {
      type: "BOOKMARK",
      resourceVersion: "7",
    });
  }
});

Deno.test("events are changes of pods, bookmarks, or errors", () => {
  const changed = parseEvent(
    event("MODIFIED", pod("web-0", { "rcap.dev/max-rss": "1G" })),
  );
  assertEquals(changed, {
    type: "MODIFIED",
    resourceVersion: "7",
    pod: {
      namespace: "shop",
      name: "web-0",
      annotations: new Map([["max-rss", "1G"]]),
    },
  });
  assertEquals(
    parseEvent(
      event("BOOKMARK", {
        kind: "PartialObjectMetadata",
        metadata: { resourceVersion: "12746", creationTimestamp: null },
      }),
    ),
    { type: "BOOKMARK", resourceVersion: "12746" },
  );
  assertEquals(
    parseEvent(event("ERROR", {
      kind: "Status",
      code: 410,
      reason: "Expired",
      message: "too old resource version: 1 (3)",
    })),
    { type: "ERROR", code: 410, message: "too old resource version: 1 (3)" },
  );
});

Deno.test("garbage is an error of one line, whatever it is", () => {
  const wrong: Record<string, RegExp> = {
    "<html>": /not JSON/,
    "{}": /not about pods/,
    [event("ADDED", {})]: /not about pods: object.metadata is undefined/,
    [event("RENAMED", pod("a"))]: /not about pods/,
    ["[".repeat(200_000)]: /not JSON/,
  };
  for (const [text, words] of Object.entries(wrong)) {
    assertMatch(
      assertThrows(() => parseEvent(text), MalformedAnswer).message,
      words,
    );
    assertThrows(() => parsePage(text), MalformedAnswer);
  }
  fc.assert(
    fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
      for (const parse of [parseEvent, parsePage]) {
        try {
          parse(text);
        } catch (error) {
          if (!(error instanceof MalformedAnswer)) throw error;
          if (error.message.length > 200) throw new Error(error.message);
        }
      }
    }),
    { seed: fuzzSeed(), numRuns: 2000 },
  );
});
