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

Deno.test("links in it lead to files of that machine, and not out of it", () => {
  const root = Deno.makeTempDirSync({ prefix: "rcap-" });
  try {
    for (const folder of ["etc", "usr", "usr/lib", "out"]) {
      Deno.mkdirSync(`${root}/${folder}`);
    }
    Deno.writeTextFileSync(`${root}/usr/lib/passwd`, "ann:x:4711:1::/:/bin/sh");
    Deno.writeTextFileSync(`${root}/usr/lib/shadow`, "1");
    const link = (target: string, path: string) =>
      Deno.symlinkSync(target, `${root}/${path}`);
    link("/usr/lib/passwd", "etc/passwd");
    const host = HostFiles.mountedIn(root);
    assertEquals(host.uidOfUser("ann"), 4711);
    link(`${"../".repeat(30)}usr/lib/shadow`, "out/far");
    assertEquals(host.readText("/out/far"), "1");
    assertEquals(host.readText("/../../usr/lib/shadow"), "1");
    // It exists on this machine, and not on that one.
    link("/proc/self/status", "out/status");
    assertEquals(host.readText("/out/status"), undefined);
    link("/out/round", "out/round");
    assertEquals(host.readText("/out/round"), undefined);
    link("/usr", "out/usr");
    Deno.symlinkSync(root, `${root}/out/self`);
    const same = HostFiles.mountedIn(root);
    assertEquals(same.readText("/out/usr/lib/shadow"), "1");
    Deno.chmodSync(`${root}/usr/lib`, 0o777);
    assertEquals(host.passwd(), undefined, "others could replace it");
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
