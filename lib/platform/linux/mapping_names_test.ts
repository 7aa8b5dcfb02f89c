/**
 * Tests of the names of mappings.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { kindOfName, Names } from "./mapping_names.ts";
import { SmapsParser } from "./smaps.ts";

const encoder = new TextEncoder();

function namesOf(names: Names, text: string): string {
  const bytes = encoder.encode(text);
  return names.at(bytes, 0, bytes.length);
}

Deno.test("a name and its kind have the same properties", () => {
  const kinds: Record<string, string> = {
    "": "",
    "[vdso]": "[vdso]",
    "[vvar_vclock]": "[vvar_vclock]",
    "[vsyscall]": "[vsyscall]",
    "[heap]": "[]",
    "[anon:a name]": "[]",
    "[anon_shmem:x]": "[]",
    "anon_inode:[io_uring]": "[]",
    "/": "/",
    "/usr/bin/server": "/",
    "/mem": "/",
    "/dev/zero": "/",
    "/memfd:buffer (deleted)": "/memfd:",
    "/SYSV00000000 (deleted)": "/memfd:",
    "/dev/zero (deleted)": "/memfd:",
  };
  const names = new Names("kinds");
  for (const [name, kind] of Object.entries(kinds)) {
    assertEquals(kindOfName(name), kind, name);
    assertEquals(namesOf(names, name), kind, name);
    // The name of a kind is of that kind.
    assertEquals(kindOfName(kind), kind);
  }
});

Deno.test("equal names are kept once", () => {
  const names = new Names("all");
  for (let at = 0; at < 1_000_000; at += 1000) {
    assertEquals(namesOf(names, "/usr/lib/libc.so"), "/usr/lib/libc.so");
  }
});

Deno.test("of 65,000 names of 4 KiB each, a part is kept", () => {
  const names = new Names("all");
  let length = 0;
  for (let file = 0; file < 65_000; file++) {
    length += namesOf(names, `/tmp/${file}/`.padEnd(4095, "x")).length;
  }
  assert(length < 32 << 20, `${length} letters`);
  // Short names are still kept whole.
  assertEquals(namesOf(names, "/usr/bin/server"), "/usr/bin/server");
});

Deno.test("a line of any length is parsed like a short one", () => {
  const parser = new SmapsParser();
  const path = "/x".repeat(1 << 20);
  const text = encoder.encode(
    `00400000-00500000 r--p 0 fe:01 17   ${path}\nRss:   4 kB\n00500000-00600000 rw-p 0 00:00 0 \nRss:   8 kB\n`,
  );
  for (let at = 0; at < text.length; at += 4096) {
    parser.push(text.slice(at, at + 4096));
  }
  const [long, short] = parser.end();
  assertEquals([long.rss, short.rss], [4096, 8192]);
  assert(long.name.startsWith("/x/x") && long.name.length <= 4097);
  assert(long.name.endsWith("…"));
});
