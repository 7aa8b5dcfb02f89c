/**
 * Tests of caps by the annotations of pods.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { writtenAs } from "../collection/selectors.ts";
import { podCaps } from "./pod_caps.ts";

const GIB = 2 ** 30;

function pod(name: string, annotations: Record<string, string>) {
  return {
    namespace: "shop",
    name,
    annotations: new Map(Object.entries(annotations)),
  };
}

function problemOf(annotations: Record<string, string>): string {
  const { caps, problems } = podCaps([pod("web-0", annotations)], 4 * GIB);
  assertEquals(caps, []);
  assertEquals(problems.length, 1);
  return problems[0];
}

Deno.test("annotations of a pod are a cap with its name", () => {
  const { caps, problems } = podCaps([
    pod("web-0", { "max-rss": "2G" }),
    pod("web-1.a", { "max-rss": "25%", "idle": "10m" }),
    pod("db-0", { idle: "auto" }),
  ], 4 * GIB);
  assertEquals(problems, []);
  assertEquals(
    caps.map(({ select, ...cap }) => ({
      ...cap,
      select: select.map(writtenAs),
    })),
    [
      {
        name: "pod:shop/web-0",
        select: ["pod:shop/web-0"],
        maxRss: 2 * GIB,
        place: "pod shop/web-0, rcap.dev/max-rss",
        isOfPod: true,
      },
      {
        name: "pod:shop/web-1.a",
        select: ["pod:shop/web-1.a"],
        maxRss: GIB,
        idle: 600_000,
        place: "pod shop/web-1.a, rcap.dev/max-rss",
        isOfPod: true,
      },
      {
        name: "pod:shop/db-0",
        select: ["pod:shop/db-0"],
        idle: "auto",
        place: "pod shop/db-0, rcap.dev/idle",
        isOfPod: true,
      },
    ],
  );
});

Deno.test("a wrong annotation is told with pod, value and remedy, and keeps the pod alone from its cap", () => {
  const head = "pod shop/web-0 has no cap by its annotations: ";
  assertEquals(
    problemOf({ "max-rss": "2000" }),
    `${head}rcap.dev/max-rss: "2000" is less than a page of memory, 4K; a number without a unit is bytes: did you mean "2000M"?`,
  );
  assertEquals(
    problemOf({ idle: "soon" }),
    `${head}rcap.dev/idle: "soon" is not a duration; write a number and a unit (500ms, 5s, 2m, 1h), or seconds (5)`,
  );
  assertEquals(
    problemOf({ "max-rss": "1G", "idle": "1ms" }),
    `${head}rcap.dev/idle: "1ms" is out of range; it is at least 1s and at most 168h`,
  );
  assertEquals(
    problemOf({ "max_rss": "1G" }),
    `${head}unknown annotation rcap.dev/max_rss; did you mean rcap.dev/max-rss?`,
  );
  assertEquals(
    problemOf({ "colour": "red" }),
    `${head}unknown annotation rcap.dev/colour; the annotations are rcap.dev/max-rss and rcap.dev/idle`,
  );
  assertEquals(
    problemOf({ "max-rss": "1".repeat(65) }),
    `${head}rcap.dev/max-rss has more than 64 characters; shorten it`,
  );
  assertEquals(
    problemOf({ "max-rss": "\x1b[2J1G\n" }),
    `${head}rcap.dev/max-rss: "\\x1b[2J1G\\n" is not a size; write bytes (1048576), a unit (512K, 1.5G, 2GiB) or a share of memory (25%)`,
  );
  const { caps, problems } = podCaps([
    pod("bad", { "max-rss": "much" }),
    pod("good", { "max-rss": "1G" }),
  ], GIB);
  assertEquals(caps.map(({ name }) => name), ["pod:shop/good"]);
  assertEquals(problems.length, 1);
});
