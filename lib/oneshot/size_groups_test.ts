/**
 * Tests of the names of groups: selectors of containers and pods.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { FakeClock, FakePlatform } from "../platform/fake_testing.ts";
import type { Container, Platform } from "../platform/platform.ts";
import { groupsBy, NO_GROUP } from "./size_groups.ts";

const ID = "9ce2b77ad46306007530c9993fbee3cbe077c0dfe0610b5c0e65b160bcb14bd9";

Deno.test("processes are grouped by container and by pod", () => {
  const platform: Platform = new FakePlatform(new FakeClock());
  const pod = { namespace: "shop", name: "web-0", container: "nginx" };
  const containers: Record<string, Container> = {
    docker: { id: ID, name: "db", uid: undefined, pod: undefined },
    own: { id: ID, name: undefined, uid: 1000, pod: undefined },
    nginx: { id: ID, name: undefined, uid: undefined, pod },
    pause: {
      id: ID,
      name: undefined,
      uid: undefined,
      pod: { ...pod, container: undefined },
    },
  };
  platform.containerOf = ({ comm }) => containers[comm];
  const entry = platform.listProcesses()[0];
  const groups = (grouping: "container" | "pod") =>
    Object.fromEntries(
      ["docker", "own", "nginx", "pause", "none"].map((comm) => [
        comm,
        groupsBy(grouping, platform)({ ...entry, comm }),
      ]),
    );
  assertEquals(groups("container"), {
    docker: "container:db",
    own: "container:user@1000/9ce2b77ad463",
    nginx: "pod:shop/web-0/nginx",
    pause: "container:9ce2b77ad463",
    none: NO_GROUP,
  });
  assertEquals(groups("pod"), {
    docker: NO_GROUP,
    own: NO_GROUP,
    nginx: "pod:shop/web-0",
    pause: "pod:shop/web-0",
    none: NO_GROUP,
  });
});
