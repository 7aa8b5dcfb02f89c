/**
 * Tests of user lookups with name services that fail.
 *
 * @module
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Errno, systemError } from "../../ffi/libc.ts";
import "../../ffi/testing.ts";
import { UsageError } from "../errors.ts";
import { BoundedCalls } from "../platform/bounded_calls.ts";
import { parseSelector } from "./selectors.ts";
import { UserNotKnown, Users } from "./users.ts";

Deno.test("names are looked up once each, and numbers as names, unless they have a plus sign", async () => {
  const asked: string[] = [];
  const users = new Users({
    uidOfUser(name) {
      asked.push(name);
      const uid = new Map([["alice", 1234], ["1235", 77], ["-1", 2 ** 32 - 1]])
        .get(name);
      return Promise.resolve(uid);
    },
  });
  const selectors = [
    "user:alice",
    "user:1",
    "user:1235",
    "user:+1235",
    "user:-1",
    "user:bob",
    "user:alice",
    "comm:x",
  ];
  assertEquals(await users.lookUp(selectors), []);
  assertEquals(asked, ["alice", "1", "1235", "-1", "bob"]);
  assertEquals(users.uidOf("alice", "user:alice"), 1234);
  assertEquals(users.uidOf("1", "user:1"), 1);
  assertEquals(users.uidOf("1235", "user:1235"), 77);
  assertEquals(users.uidOf("+1235", "user:+1235"), 1235);
  assertThrows(
    () => users.uidOf("-1", "user:-1"),
    UsageError,
    "no process can have the user id 4294967295",
  );
  assertThrows(
    () => users.uidOf("bob", "user:bob"),
    UsageError,
    'selector "user:bob": there is no user "bob"',
  );
});

Deno.test("a failed lookup does not mean that there is no such user", async () => {
  for (const errno of [Errno.EIO, Errno.ENOENT, Errno.EMFILE, Errno.EAGAIN]) {
    const users = new Users({
      uidOfUser: () => Promise.reject(systemError("look up", errno)),
    });
    assertEquals(await users.lookUp(["user:alice"]), []);
    const error = assertThrows(
      () => users.uidOf("alice", "user:alice"),
      UserNotKnown,
      'the name service did not resolve user "alice" (look up: ',
    );
    assertEquals(error.exitCode, 1);
  }
});

Deno.test("a number that cannot be looked up is taken for a uid, and a message says so", async () => {
  let fails = true;
  const users = new Users({
    uidOfUser: () =>
      fails
        ? Promise.reject(systemError("look up", Errno.EIO))
        : Promise.resolve(77),
  });
  const failure =
    'the name service did not resolve user "1000" (look up: Input/output error (EIO))';
  assertEquals(await users.lookUp(["user:1000", "user:+1000"]), [
    `${failure}; uid 1000 is used`,
  ]);
  assertEquals(users.uidOf("1000", "user:1000"), 1000);
  fails = false;
  assertEquals(await users.lookUp(["user:1000"]), []);
  assertEquals(users.uidOf("1000", "user:1000"), 77);
  fails = true;
  assertEquals(await users.lookUp(["user:1000"]), [
    `${failure}; uid 77 is used, as before`,
  ]);
  assertEquals(users.uidOf("1000", "user:1000"), 77);
  assertEquals(users.uidOf("+1000", "user:+1000"), 1000);
});

Deno.test("a zone may be named by a number, and names come first", () => {
  const users = new Users({
    uidOfUser: () => Promise.resolve(undefined),
    projectIdOf: (name) => name === "web" ? 100 : undefined,
    zoneIdOf: (name) => name === "7" ? 3 : undefined,
  });
  const idOf = (text: string) => {
    const selector = parseSelector(text, users);
    assert(selector.kind === "project" || selector.kind === "zone");
    return selector.id;
  };
  assertEquals(idOf("zone:7"), 3);
  assertEquals(idOf("zone:8"), 8);
  assertEquals(idOf("project:web"), 100);
  assertEquals(idOf("project:2147483647"), 2147483647);
  for (const text of ["zone:2147483648", "project:99999999999"]) {
    assertThrows(() => idOf(text), UsageError, "from 0 to 2147483647");
  }
});

Deno.test("an unresponsive name service does not block callers", async () => {
  let made = 0;
  const { promise, resolve } = Promise.withResolvers<number>();
  const users = new Users({
    uidOfUser() {
      made++;
      return promise;
    },
  }, new BoundedCalls({ places: 2, milliseconds: 50 }));
  await users.lookUp(["user:a", "user:b", "user:c", "user:d"]);
  assertEquals(made, 2, "no more threads than lookups allowed");
  for (const name of ["a", "b", "c", "d"]) {
    assertThrows(
      () => users.uidOf(name, "x"),
      UserNotKnown,
      "did not resolve user",
    );
  }
  await users.lookUp(["user:a"]);
  assertEquals(made, 2, "it is not asked again until it has answered");
  resolve(7);
  await promise;
  await users.lookUp(["user:a"]);
  assertEquals(users.uidOf("a", "user:a"), 7);
});

Deno.test("a lookup ends when it is aborted", async () => {
  const { promise, resolve } = Promise.withResolvers<number>();
  const users = new Users(
    { uidOfUser: () => promise },
    new BoundedCalls({ places: 1, milliseconds: 60_000 }),
  );
  const controller = new AbortController();
  const began = performance.now();
  const looking = users.lookUp(["user:a"], controller.signal);
  controller.abort(new Error("told to end"));
  await assertRejects(() => looking, Error, "told to end");
  assert(performance.now() - began < 30_000);
  await assertRejects(
    () => users.lookUp(["user:a"], controller.signal),
    Error,
    "told to end",
  );
  resolve(1);
});
