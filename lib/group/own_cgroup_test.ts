import { assertEquals } from "@std/assert";
import { join, parseSelector } from "../collection/selectors.ts";
import { cgroupTest } from "../config/reclaim.ts";
import { ownCgroup } from "./own_cgroup.ts";

const select = (...texts: string[]) => texts.map((text) => parseSelector(text));

/** The own cgroup of a cap with these selectors. */
function ownOf(texts: string[], paths: (string | undefined)[]) {
  const matches = cgroupTest(select(...texts));
  return matches && ownCgroup(matches, paths);
}

Deno.test("a cap that selects one unit or cgroup has that as its own", () => {
  const web = "/system.slice/web.service";
  assertEquals(ownOf(["unit:web"], [web]), web);
  assertEquals(ownOf(["unit:web"], [`${web}/a`, `${web}/b/c`]), web);
  assertEquals(ownOf(["unit:web"], [`${web}/a`, web]), web);
  assertEquals(ownOf(["cgroup:/a/b"], ["/a/b"]), "/a/b");
  assertEquals(ownOf(["cgroup:/a/*"], ["/a/b", "/a/b/c"]), "/a/b");
});

Deno.test("other caps have none of their own", () => {
  assertEquals(ownOf(["cgroup:/a/*"], ["/a/b", "/a/c"]), undefined);
  assertEquals(ownOf(["cgroup:/a/b", "cgroup:/a/c"], ["/a/b"]), undefined);
  assertEquals(ownOf(["comm:web"], ["/a"]), undefined);
  const both = cgroupTest([join(select("unit:web", "user:0"))]);
  assertEquals(both, undefined);
  assertEquals(ownOf(["unit:web"], []), undefined, "no members");
  const web = "/system.slice/web.service";
  assertEquals(ownOf(["unit:web"], [web, undefined]), undefined);
  assertEquals(ownOf(["cgroup:/"], ["/a", "/b"]), undefined, "the root");
});
