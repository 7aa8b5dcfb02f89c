/**
 * Proves that the kernel reclaims what several processes share where a cap asks for it,
 * on kernels that know different keys of `memory.reclaim`: see `reclaim.sh`.
 *
 * `deno task test:vm` runs this, as machines `6.1-reclaim` and so on.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { CheckReport } from "../../lib/config/config_report.ts";
import type { DaemonState } from "../../lib/group/state.ts";
import { cProgram } from "../support/c_program.ts";
import { binary, isChosen } from "./choice.ts";
import type { Release } from "./debian.ts";
import { type Guest, runGuest } from "./guest.ts";

/** How long a machine may run; emulated, it takes its time. */
const TIMEOUT_SECONDS = 900;

const MACHINES: readonly [name: string, release: Release][] = [
  ["6.1-reclaim", "bookworm"],
  ["6.12-reclaim", "trixie"],
  ["newest-reclaim", "sid"],
];

/** What `reclaim.sh` makes: processes, and the kilobytes that they share. */
const PROCESSES = 4;
const SEGMENT = 64 * 1024;

const MIB = 2 ** 20;

for (const [name, release] of MACHINES) {
  if (!isChosen(name)) continue;
  Deno.test(`shared memory is reclaimed: ${name}`, async () => {
    const guest = await runGuest({
      release,
      cpu: "max,-la57",
      rcap: binary(),
      init: new URL("reclaim.sh", import.meta.url).pathname,
      scripts: new Map([
        ["bin/sharing", await cProgram("sharing", ["-static"])],
      ]),
      timeoutSeconds: TIMEOUT_SECONDS,
    });
    try {
      // The last one: after it, none is missing.
      guest.output("done");
      checkChecks(guest);
      checkWithout(guest);
      checkWith(guest);
    } catch (error) {
      throw guest.explain(error);
    }
  });
}

/** `rcap check` says where nothing can be reclaimed. */
function checkChecks(guest: Guest): void {
  const expected: [step: string, why: string | undefined][] = [
    ["check", undefined],
    ["check_plain", "cgroup /plain/inner has no memory controller"],
    [
      "check_several",
      "it selects 2 cgroups, for example /several/a and /several/b",
    ],
    ["check_root", "it selects the root cgroup"],
    // No process of it runs.
    ["check_unit", undefined],
  ];
  for (const [step, why] of expected) {
    const { valid, warnings } = guest.json<CheckReport>(step);
    assert(valid, step);
    const messages = warnings.map(({ message }) => message);
    if (why === undefined) assertEquals(messages, [], step);
    else assertStringIncludes(messages.join(), why, step);
  }
}

/** Page-outs do not take it, and the daemon says why. */
function checkWithout(guest: Guest): void {
  assertEquals(rssOf(guest, "before").length, PROCESSES);
  for (const rss of rssOf(guest, "off")) assert(rss >= SEGMENT, `${rss}`);
  const { warning } = groupOf(guest, "off");
  assertStringIncludes(warning ?? "", "mapped more than once");
}

/** The kernel takes it. */
function checkWith(guest: Guest): void {
  for (const rss of rssOf(guest, "auto")) assert(rss < SEGMENT, `${rss}`);
  const { rss, cap, statistics, warning } = groupOf(guest, "auto");
  // What was paged out for it may come back in part.
  assert(cap !== null && rss < cap + 4 * MIB, `${rss} of ${cap}`);
  assert(statistics.effective > 20 * MIB, `${statistics.effective}`);
  assertEquals(warning, null);
  const log = guest.step("run_auto").stderr;
  assertStringIncludes(
    log,
    "segment: what several processes map is reclaimed by the kernel, which chooses the pages, from cgroup /segment and all below it, which lose memory as well: /segment/inner",
  );
  assertStringIncludes(log, "segment: asked the kernel to reclaim");
}

/** The resident kilobytes of the processes after a step. */
function rssOf(guest: Guest, step: string): number[] {
  return guest.output(`rss_${step}`).trim().split("\n").map(Number);
}

function groupOf(guest: Guest, reclaim: "off" | "auto") {
  const { groups } = guest.json<DaemonState>(`run_${reclaim}`);
  return groups[0];
}
