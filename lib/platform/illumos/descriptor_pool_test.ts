/**
 * Tests of the pool of descriptors.
 *
 * @module
 */

import { assertEquals, assertThrows } from "@std/assert";
import { SystemError } from "../../errors.ts";
import { IllumosErrno } from "../../../ffi/illumos_libc.ts";
import { DescriptorPool } from "./descriptor_pool.ts";

/** A system on which every file can be opened, up to a limit of descriptors. */
class Files {
  readonly open_ = new Set<number>();
  limit = Infinity;
  #next = 3;

  open(path: string): number {
    if (path === "missing") {
      throw new SystemError("open", IllumosErrno.ENOENT, "");
    }
    if (this.open_.size >= this.limit) {
      throw new SystemError("open", IllumosErrno.EMFILE, "");
    }
    this.open_.add(this.#next);
    return this.#next++;
  }

  close(fd: number): void {
    assertEquals(this.open_.delete(fd), true, "closed once");
  }
}

function poolOf(limit: number, inUse = 0) {
  const files = new Files();
  return { files, pool: new DescriptorPool(files, { limit, inUse }) };
}

Deno.test("ten descriptors are left free, whatever the limit", () => {
  assertEquals(poolOf(64, 20).pool.capacity, 34);
  assertEquals(poolOf(256, 6).pool.capacity, 240);
  // There must be room for at least one process.
  assertEquals(poolOf(20, 15).pool.capacity, 3);
});

Deno.test("a file in use is opened once", () => {
  const { files, pool } = poolOf(15);
  const { fd, isFresh } = pool.use("a", "/a");
  assertEquals(isFresh, true);
  assertEquals(pool.use("a", "/a"), { fd, isFresh: false });
  assertEquals([...files.open_], [fd]);
});

Deno.test("the least recently used descriptor makes room", () => {
  const { pool } = poolOf(13);
  for (const key of ["a", "b", "c", "a", "d"]) pool.use(key, `/${key}`);
  assertEquals([pool.size, pool.opened, pool.revoked], [3, 4, 1]);
  const fresh = ["a", "c", "d", "b"].map((key) =>
    pool.use(key, `/${key}`).isFresh
  );
  assertEquals(fresh, [false, false, false, true]);
});

Deno.test("the pool gives way if others take descriptors", () => {
  const { files, pool } = poolOf(64);
  for (const key of ["a", "b", "c", "d"]) pool.use(key, `/${key}`);
  files.limit = 4;
  pool.use("e", "/e");
  assertEquals([pool.size, pool.revoked], [4, 1]);
  files.close(pool.open("/own"));
  assertEquals(pool.size, 3);
  pool.shrink();
  assertEquals(pool.size, 1);
  files.limit = 0;
  assertThrows(() => pool.use("f", "/f"), SystemError);
  assertEquals(pool.size, 0);
});

Deno.test("a failed open leaves no entry, and disposal closes all descriptors", () => {
  const { files, pool } = poolOf(64);
  assertThrows(() => pool.use("missing", "missing"), SystemError);
  assertEquals(pool.size, 0);
  for (const key of ["a", "b"]) pool.use(key, `/${key}`);
  pool.close("a");
  pool.close("a");
  assertEquals(files.open_.size, 1);
  pool[Symbol.dispose]();
  assertEquals([files.open_.size, pool.size], [0, 0]);
});
