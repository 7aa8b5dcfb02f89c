/**
 * Tests of reading and writing files by descriptor.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { isDenied, isMissing, SystemError } from "../lib/errors.ts";
import {
  File,
  readDirectory,
  readTextFile,
  readTextFileIfAny,
} from "./file.ts";
import { Errno, systemError } from "./libc.ts";
import "./testing.ts";

/** A directory that is removed when disposed. */
function temporaryDirectory(): Disposable & { readonly path: string } {
  const path = Deno.makeTempDirSync();
  return {
    path,
    [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }),
  };
}

Deno.test("the error for a missing file names the file", () => {
  const error = assertThrows(
    () => File.open("/nowhere/at all"),
    SystemError,
    "open /nowhere/at all: No such file or directory (ENOENT)",
  );
  assert(isMissing(error));
  assert(!isDenied(error));
  assertEquals(readTextFileIfAny("/nowhere/at all"), undefined);
});

Deno.test("EACCES and EPERM mean denied", () => {
  const denied = [Errno.EACCES, Errno.EPERM].map((errno) =>
    systemError("open", errno)
  );
  assert(denied.every(isDenied));
  assert(!denied.some(isMissing));
  // A process that ends while its files are read.
  assert(isMissing(systemError("read", Errno.ESRCH)));
});

Deno.test("an error number without a name here has the C library's text", () => {
  assertEquals(
    systemError("open", 29).message,
    "open: Illegal seek",
  );
});

Deno.test("a file of any length is read completely", () => {
  using directory = temporaryDirectory();
  const path = `${directory.path}/long`;
  const bytes = new Uint8Array(1_000_003).map((_, at) => at * 31 % 251);
  Deno.writeFileSync(path, bytes);
  using first = File.open(path);
  assertEquals(first.readAll(), bytes);
});

Deno.test("a file is read at an offset, but not beyond its end", () => {
  using directory = temporaryDirectory();
  const path = `${directory.path}/short`;
  Deno.writeTextFileSync(path, "0123456789");
  using file = File.open(path);
  const buffer = new Uint8Array(4);
  assertEquals(file.readFrom(3n, buffer), 4);
  assertEquals(new TextDecoder().decode(buffer), "3456");
  assertEquals(file.readFrom(8n, buffer), 2);
  assertEquals(file.readFrom(10n, buffer), 0);
});

Deno.test("files are found in an open directory, even after it is renamed", () => {
  using directory = temporaryDirectory();
  const [old, renamed] = [`${directory.path}/old`, `${directory.path}/new`];
  Deno.mkdirSync(old);
  Deno.writeTextFileSync(`${old}/file`, "text");
  Deno.symlinkSync("to somewhere (deleted)", `${old}/link`);
  using place = File.openPlace(old);
  Deno.renameSync(old, renamed);
  using file = place.openAt("file");
  assertEquals(new TextDecoder().decode(file.readAll()), "text");
  assertEquals(place.readLinkAt("link"), "to somewhere (deleted)");
  assertThrows(() => place.openAt("none"), SystemError, `${old}/none`);
});

Deno.test("a directory with many names is listed completely", () => {
  using directory = temporaryDirectory();
  const names = Array.from(
    { length: 3000 },
    (_, at) => `${at}`.padStart(60, "a name with spaces "),
  );
  for (const name of names) {
    Deno.writeTextFileSync(`${directory.path}/${name}`, "");
  }
  assertEquals(readDirectory(directory.path).sort(), names.sort());
});

Deno.test("files of /proc are read although their size is 0", () => {
  assertEquals(
    readTextFile("/proc/self/comm"),
    Deno.readTextFileSync("/proc/self/comm"),
  );
});
