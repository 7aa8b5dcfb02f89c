import { assertEquals } from "@std/assert";
import { join, parseSelector } from "../collection/selectors.ts";
import { ownCgroup } from "./own_cgroup.ts";

const select = (...texts: string[]) => texts.map((text) => parseSelector(text));

Deno.test("a cap on one unit or cgroup has the cgroup of all members as its own", () => {
  const web = "/system.slice/web.service";
  assertEquals(ownCgroup(select("unit:web"), [web]), web);
  assertEquals(ownCgroup(select("unit:web"), [`${web}/a`, `${web}/b/c`]), web);
  assertEquals(ownCgroup(select("unit:web"), [`${web}/a`, web]), web);
  assertEquals(ownCgroup(select("cgroup:/a/b"), ["/a/b"]), "/a/b");
});

Deno.test("other caps have none of their own", () => {
  const paths = ["/a/b", "/a/c"];
  assertEquals(ownCgroup(select("cgroup:/a/*"), paths), undefined);
  assertEquals(ownCgroup(select("unit:user@*"), paths), undefined);
  assertEquals(
    ownCgroup(select("cgroup:/a/b", "cgroup:/a/c"), paths),
    undefined,
  );
  assertEquals(ownCgroup(select("comm:web"), ["/a"]), undefined);
  assertEquals(
    ownCgroup([join(select("unit:web", "user:0"))], ["/a"]),
    undefined,
  );
  assertEquals(ownCgroup(select("unit:web"), []), undefined, "no members");
  assertEquals(ownCgroup(select("unit:web"), ["/a", undefined]), undefined);
  assertEquals(
    ownCgroup(select("unit:web"), ["/a", "/b"]),
    undefined,
    "the root",
  );
  assertEquals(ownCgroup(select("unit:web"), ["/"]), undefined, "the root");
});
