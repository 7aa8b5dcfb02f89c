/**
 * Tests of containers and pods in selectors.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../errors.ts";
import type { Container } from "../platform/platform.ts";
import { containerSelector, podSelector } from "./containers.ts";
import { parseSelector } from "./selectors.ts";

const ID = "9ce2b77ad46306007530c9993fbee3cbe077c0dfe0610b5c0e65b160bcb14bd9";

function container(given: Partial<Container>): Container {
  return {
    id: ID,
    name: undefined,
    uid: undefined,
    pod: undefined,
    ...given,
  };
}

const CONTAINERS = {
  web: container({ name: "web" }),
  nameless: container({ id: ID.replace("9ce2", "1111") }),
  own: container({ id: ID.replace("9ce2", "2222"), name: "web", uid: 1000 }),
  nginx: container({
    id: ID.replace("9ce2", "3333"),
    pod: { namespace: "shop", name: "web-7d9f-x2", container: "nginx" },
  }),
  pause: container({
    id: ID.replace("9ce2", "4444"),
    pod: { namespace: "shop", name: "web-7d9f-x2", container: undefined },
  }),
  other: container({
    id: ID.replace("9ce2", "5555"),
    pod: { namespace: "test", name: "web-7d9f-x2", container: "nginx" },
  }),
  slice: container({
    id: undefined,
    pod: { namespace: "shop", name: "db-0", container: undefined },
  }),
};

/** The containers that a selector matches. */
function matching(text: string): string[] {
  const selector = parseSelector(text);
  assert("selects" in selector);
  return Object.entries(CONTAINERS)
    .filter(([, one]) => selector.selects(one))
    .map(([name]) => name);
}

Deno.test("containers are selected by name, glob, or id, those of a user by uid", () => {
  assertEquals(matching("container:web"), ["web"]);
  assertEquals(matching("container:w*"), ["web"]);
  assertEquals(matching("container:*"), ["web"]);
  assertEquals(matching(`container:${ID}`), ["web"]);
  assertEquals(matching("container:9ce2b77ad463"), ["web"]);
  assertEquals(matching("container:9ce2b77ad46"), [], "too short for an id");
  assertEquals(matching("container:1111b77ad463"), ["nameless"]);
  assertEquals(matching("container:user@1000/web"), ["own"]);
  assertEquals(matching("container:user@1000/2222b77ad463"), ["own"]);
  assertEquals(matching("container:2222b77ad463"), [], "it is a user's");
  assertEquals(matching("container:user@1001/web"), []);
  assertEquals(matching("container:3333b77ad463"), ["nginx"]);
});

Deno.test("pods are selected by namespace and name, and their containers", () => {
  assertEquals(matching("pod:shop/web-7d9f-x2"), ["nginx", "pause"]);
  assertEquals(matching("pod:shop/*"), ["nginx", "pause", "slice"]);
  assertEquals(matching("pod:*/web-*"), ["nginx", "pause", "other"]);
  assertEquals(matching("pod:shop/web-*/nginx"), ["nginx"]);
  assertEquals(matching("pod:shop/*/*"), ["nginx"]);
  assertEquals(matching("pod:*/nginx"), []);
});

Deno.test("what names no container is refused, with what would", () => {
  const cases: [selector: string, message: string][] = [
    ["container:a/b", '"a/b" is not a container'],
    ["container:user@1000/", '"user@1000/" is not a container'],
    ["container:user@alice/web", '"user@alice/web" is not a container'],
    ["container:[", 'malformed glob "["'],
    ["pod:web", '"web" is not a pod'],
    ["pod:a/b/c/d", '"a/b/c/d" is not a pod'],
    ["pod:/web", '"/web" is not a pod'],
    ["pod:a/[", 'malformed glob "["'],
  ];
  for (const [selector, message] of cases) {
    const error = assertThrows(() => parseSelector(selector), UsageError);
    assertEquals(error.message.includes(message), true, error.message);
    assertEquals(error.message.includes(selector), true, error.message);
  }
});

Deno.test("the selector of a container, or of its pod, selects it", () => {
  const selectors = Object.fromEntries(
    Object.entries(CONTAINERS).map((
      [name, one],
    ) => [name, [containerSelector(one), podSelector(one)]]),
  );
  assertEquals(selectors, {
    web: ["container:web", undefined],
    nameless: ["container:1111b77ad463", undefined],
    own: ["container:user@1000/web", undefined],
    nginx: ["pod:shop/web-7d9f-x2/nginx", "pod:shop/web-7d9f-x2"],
    pause: ["container:4444b77ad463", "pod:shop/web-7d9f-x2"],
    other: ["pod:test/web-7d9f-x2/nginx", "pod:test/web-7d9f-x2"],
    slice: [undefined, "pod:shop/db-0"],
  });
  for (const [name, both] of Object.entries(selectors)) {
    for (const selector of both) {
      if (selector === undefined) continue;
      assertEquals(matching(selector).includes(name), true, selector);
    }
  }
});
