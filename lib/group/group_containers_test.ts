/**
 * Tests of the containers that are told of a group.
 *
 * @module
 */

import { assertEquals, assertThrows } from "@std/assert";
import { NotKnown } from "../errors.ts";
import type { Container } from "../platform/platform.ts";
import { FakeClock, FakePlatform } from "../platform/fake_testing.ts";
import {
  containerOf,
  groupContainers,
  MOST_CONTAINERS,
} from "./group_containers.ts";

const ID = "9ce2b77ad46306007530c9993fbee3cbe077c0dfe0610b5c0e65b160bcb14bd9";

function container(given: Partial<Container>): Container {
  return { id: ID, name: undefined, uid: undefined, pod: undefined, ...given };
}

Deno.test("the different containers of a group are told, as they are called", () => {
  const pod = { namespace: "shop", name: "web-0", container: "nginx" };
  const told = groupContainers([
    undefined,
    container({ name: "web" }),
    container({ name: "web" }),
    container({ name: "web", uid: 1000 }),
    container({}),
    container({ pod }),
    container({ pod: { ...pod, container: undefined } }),
  ]);
  const none = { pod: null, namespace: null };
  assertEquals(told, [
    { ...none, container: "9ce2b77ad463" },
    { ...none, container: "user@1000/web" },
    { ...none, container: "web" },
    { container: null, pod: "web-0", namespace: "shop" },
    { container: "nginx", pod: "web-0", namespace: "shop" },
  ]);
});

Deno.test("of many containers, the same are told every time", () => {
  const many = Array.from(
    { length: 100 },
    (_, index) => container({ name: `job${index}` }),
  );
  const told = groupContainers(many);
  assertEquals(told.length, MOST_CONTAINERS);
  assertEquals(groupContainers(many.toReversed()), told);
});

Deno.test("a container that is not known is none, and other failures are told", () => {
  const fake = new FakePlatform(new FakeClock());
  const entry = fake.readProcess(fake.start("web").pid);
  assertEquals(containerOf(entry, {}), undefined);
  const failing = (error: Error) => () =>
    containerOf(entry, {
      containerOf() {
        throw error;
      },
    });
  assertEquals(failing(new NotKnown(1, "it is not known"))(), undefined);
  assertThrows(failing(new TypeError("a mistake")), TypeError);
});
