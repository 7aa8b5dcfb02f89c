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
import { UserNotKnown, Users } from "./users.ts";

Deno.test("names are looked up once each, numbers are not looked up", async () => {
  const asked: string[] = [];
  const users = new Users({
    uidOfUser(name) {
      asked.push(name);
      return Promise.resolve(name === "alice" ? 1234 : undefined);
    },
  });
  const selectors = [
    "user:alice",
    "user:1",
    "user:bob",
    "user:alice",
    "comm:x",
  ];
  assertEquals(await users.lookUp(selectors), []);
  assertEquals(asked, ["alice", "bob"]);
  assertEquals(users.uidOf("alice", "user:alice"), 1234);
  assertEquals(users.uidOf("1", "user:1"), 1);
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
