/**
 * Tests of the files of a machine that are mounted in a container.
 *
 * @module
 */

import { assertEquals, assertThrows } from "@std/assert";
import "../../../ffi/testing.ts";
import { RcapError, UsageError } from "../../errors.ts";
import { HostFiles } from "./host_files.ts";

Deno.test("users are those of the machine that is mounted", () => {
  const root = Deno.makeTempDirSync({ prefix: "rcap-" });
  try {
    assertThrows(() => HostFiles.mountedIn(root), UsageError, "etc/passwd");
    Deno.mkdirSync(`${root}/etc`);
    Deno.writeTextFileSync(
      `${root}/etc/passwd`,
      "root:x:0:0:root:/root:/bin/sh\n\n# odd\nann:x:4711:4711:Ann:/home/ann:/bin/sh\nbad:x:none:1::/:\n",
    );
    const host = HostFiles.mountedIn(`${root}/`);
    assertEquals(host.root, root);
    assertEquals(host.uidOfUser("ann"), 4711);
    assertEquals(host.uidOfUser("bad"), undefined);
    assertEquals(host.uidOfUser("nobody"), undefined);
    assertEquals(host.passwd()?.map(({ home }) => home), [
      "/root",
      "/home/ann",
    ]);
    Deno.chmodSync(`${root}/etc/passwd`, 0o666);
    assertThrows(() => HostFiles.mountedIn(root), UsageError, "etc/passwd");
  } finally {
    Deno.removeSync(root, { recursive: true });
  }
});

Deno.test("a place that is not a machine's is refused, with what to do", () => {
  for (const directory of ["host", "", "/no/such/place"]) {
    const error = assertThrows(() => HostFiles.mountedIn(directory), RcapError);
    assertEquals(error.message.includes(directory), true, error.message);
  }
});
