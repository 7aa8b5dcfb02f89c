/**
 * The seccomp profile of the image permits what the filter of the systemd unit permits.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { DAEMON_CAPABILITIES } from "../lib/platform/linux/privileges.ts";
import { systemdUnit } from "../lib/service/unit.ts";
import "./support/deadline.ts";

const PROFILE = new URL("../deploy/image/seccomp.json", import.meta.url);

Deno.test("the image's seccomp profile permits what the unit adds, and nothing privileged", () => {
  const { defaultAction, syscalls } = JSON.parse(
    Deno.readTextFileSync(PROFILE),
  );
  assertEquals(defaultAction, "SCMP_ACT_ERRNO");
  const names = new Set<string>(
    syscalls.flatMap((rule: { names: string[]; action: string }) => {
      assertEquals(rule.action, "SCMP_ACT_ALLOW");
      return rule.names;
    }),
  );
  const unit = systemdUnit({
    program: "/usr/bin/rcap",
    args: ["run"],
    stateDirectory: "/run/rcap",
    learntDirectory: "/var/lib/rcap",
    capabilities: DAEMON_CAPABILITIES,
    mostMemory: 2 ** 29,
  });
  const added = [...unit.matchAll(/^SystemCallFilter=@pkey (.*)$/gm)]
    .flatMap(([, calls]) => calls.split(" "));
  assert(added.includes("bpf") && added.includes("process_madvise"));
  for (const name of [...added, "pkey_mprotect", "openat2", "execve"]) {
    assert(names.has(name), `${name} is permitted`);
  }
  for (
    const name of [
      ..."mount umount2 pivot_root chroot ptrace setuid capset".split(" "),
      ..."init_module kexec_load reboot perf_event_open setns".split(" "),
      ..."unshare io_uring_setup add_key mlock setrlimit".split(" "),
    ]
  ) {
    assert(!names.has(name), `${name} is refused`);
  }
});
