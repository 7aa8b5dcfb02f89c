/**
 * Tests of recognizing the `/proc` of our own pid namespace.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { isOwn, parseProcOptions, type ProcOptions } from "./own_proc.ts";

Deno.test("a /proc is our own if it shows us under our only pid", () => {
  const status = (pids: string) => `Name:\tNSpid:\nPid:\t7\nNSpid:\t${pids}\n`;
  assertEquals(isOwn("7", status("7"), 7), true);
  // Before Linux 4.1, and in kernels without pid namespaces.
  assertEquals(isOwn("7", "Name:\trcap\nPid:\t7\n", 7), true);
  assertEquals(isOwn("1234", status("1234\t7"), 7), false);
  // The same number in both by chance.
  assertEquals(isOwn("7", status("7\t7"), 7), false);
  assertEquals(isOwn("7", status("7\t12\t7"), 7), false);
  assertEquals(isOwn("8", status("7"), 7), false);
  assertEquals(isOwn("7", status("8"), 7), false);
  assertEquals(isOwn("7", "", 7), false);
});

Deno.test("the options of /proc are those of the topmost mount", () => {
  const line = (place: string, options: string, optional = "") =>
    `22 27 0:21 / ${place} rw,relatime ${optional}- proc proc ${options}\n`;
  const root = "27 1 254:0 / / rw - ext4 /dev/vda rw,hidepid=2\n";
  const none: ProcOptions = { hidepid: undefined, gid: 0, hasPidsOnly: false };
  const cases: [string, Partial<ProcOptions>][] = [
    ["", {}],
    [root, {}],
    [root + line("/proc", "rw"), {}],
    [line("/proc", "rw,hidepid=invisible"), { hidepid: "invisible" }],
    [line("/proc", "rw,hidepid=2", "shared:5 master:1 "), {
      hidepid: "invisible",
    }],
    [line("/proc", "rw,gid=23,hidepid=1"), { gid: 23, hidepid: "noaccess" }],
    [line("/proc", "rw,hidepid=4,subset=pid"), {
      hidepid: "ptraceable",
      hasPidsOnly: true,
    }],
    [line("/proc", "rw,hidepid=off"), {}],
    [line("/proc", "rw,hidepid=0"), {}],
    [line("/srv/proc", "rw,subset=pid") + line("/proc", "rw"), {}],
    [line("/proc", "rw,subset=pid") + line("/proc", "rw"), {}],
    [line("/proc", "rw") + line("/proc", "rw,subset=pid"), {
      hasPidsOnly: true,
    }],
  ];
  for (const [mountinfo, expected] of cases) {
    assertEquals(
      parseProcOptions(mountinfo),
      { ...none, ...expected },
      mountinfo,
    );
  }
});
