/**
 * Tests of rcap in sandboxes that refuse system calls, by real seccomp filters:
 * without a required call it exits with 4 and a message; without others it works.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { examined, named } from "../support/findings.ts";
import { BRIEFLY, diskFile, MIB, requireRoot } from "../support/live.ts";
import { rcap } from "../support/rcap.ts";
import { type Refusal, Refuser } from "../support/surroundings.ts";
import { pssOf, rssOf, Workload } from "../support/workload.ts";

requireRoot();

const refuser = await Refuser.build();
addEventListener("unload", () => refuser[Symbol.dispose]());

const REFUSALS: readonly Refusal[] = ["EPERM", "ENOSYS"];

/** Calls that rcap does not require, or does not make. */
const DISPENSABLE = [
  "openat2",
  "perf_event_open",
  "pidfd_send_signal",
  // Deno itself needs it to read sources.
  ...Deno.env.has("RCAP_BIN") ? ["sched_getaffinity"] : [],
  "sched_setaffinity",
  "statfs",
];

/**
 * A process with 16 MiB of clean file pages, and a configuration that caps it at 12
 * MiB.
 */
async function victim() {
  await using cleanup = new AsyncDisposableStack();
  const file = cleanup.use(await diskFile(16 * MIB));
  const folder = file.path.replace(/\/[^/]*$/, "");
  const workload = cleanup.use(await Workload.start());
  await workload.file("cold", { path: file.path });
  const config = `${folder}/rcap.toml`;
  Deno.writeTextFileSync(
    config,
    `[[cap]]\nname = "cap"\nselect = ["pid:${workload.pid}"]\nmax_rss = "12M"\n`,
  );
  const { pid } = workload;
  const moved = cleanup.move();
  return {
    pid,
    scan: ["scan", `${pid}`, "--cap", "12M", ...BRIEFLY],
    dryRun: ["scan", `${pid}`, "--cap", "12M", "--dry-run", ...BRIEFLY],
    inspect: ["inspect", `${pid}`, ...BRIEFLY],
    once: ["run", "--once", "--config", config, "--state-dir", `${folder}/run`],
    run: ["run", "--config", config, "--state-dir", `${folder}/run`],
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

/** The message about a call that a filter refuses. */
function refused(call: string, error: Refusal): RegExp {
  return new RegExp(
    `${call}.*: .+ \\(${error}\\): .*a system call filter \\(seccomp\\) is active here, which is the likely cause; allow ${call} `,
  );
}

for (const error of REFUSALS) {
  for (const call of ["pidfd_open", "process_madvise"]) {
    Deno.test(`${call} answered ${error}: nothing is paged out, and the message says what to allow`, async () => {
      await using target = await victim();
      const before = rssOf(target.pid);
      const prefix = refuser.refusing([call], error);
      for (const args of [target.scan, target.once, target.run]) {
        const { code, stdout, stderr } = await rcap(args, { prefix });
        assertEquals({ code, stdout }, { code: 4, stdout: "" }, stderr);
        assertMatch(stderr, refused(call, error));
      }
      assert(rssOf(target.pid) >= before);
      // These page out nothing.
      for (const args of [target.dryRun, target.inspect]) {
        const { code, stderr } = await rcap(args, { prefix });
        assertEquals(code, 0, stderr);
      }
      const { code, findings } = await examined({ prefix });
      assertEquals(code, 4);
      const { status, detail, meaning, remedy } = named(
        findings,
        call === "pidfd_open" ? "pidfd" : call,
      );
      assertEquals(status, "missing");
      assertMatch(`${detail}; ${remedy}`, refused(call, error));
      assertEquals(meaning, "nothing can be paged out");
    });
  }

  Deno.test(`bpf answered ${error}: the filter and lockdown are named, and smaps is used`, async () => {
    await using target = await victim();
    const prefix = refuser.refusing(["bpf"], error);
    const says = new RegExp(
      `bpf: .+ \\(${error}\\): .+seccomp.+\\(kernel lockdown: .+\\); allow bpf `,
    );
    const pte = await rcap([...target.inspect, "--pagedata", "pte"], {
      prefix,
    });
    assertEquals(pte.code, 4);
    assertMatch(pte.stderr, says);
    for (const args of [target.inspect, target.scan]) {
      const { code, stderr } = await rcap(args, { prefix });
      assertEquals(code, 0, stderr);
      assertMatch(stderr, says);
      assert(!stderr.includes("is missing"), stderr);
    }
    assert(pssOf(target.pid) <= 13 * MIB);
    const { code, findings } = await examined({ prefix });
    assertEquals(code, 0);
    const { status, detail, remedy } = named(findings, "BPF");
    assertEquals(status, "missing");
    assertMatch(`${detail}; ${remedy}`, says);
    assertEquals(named(findings, "pagedata").status, "degraded");
    assertEquals(named(findings, "map counts").status, "degraded");
  });

  Deno.test(`sysinfo answered ${error}: exit 4, and the message says what to allow`, async () => {
    await using target = await victim();
    const prefix = refuser.refusing(["sysinfo"], error);
    for (const args of [target.scan, target.inspect, target.once]) {
      const { code, stderr } = await rcap(args, { prefix });
      assertEquals(code, 4, stderr);
      assertMatch(stderr, refused("sysinfo", error));
    }
    const { findings } = await examined({ prefix });
    const { status, detail, remedy } = named(findings, "swap");
    assertEquals(status, "missing");
    assertMatch(`${detail}; ${remedy}`, refused("sysinfo", error));
  });

  Deno.test(`optional calls answered ${error}: rcap works without them`, async () => {
    const prefix = refuser.refusing(DISPENSABLE, error);
    for (const command of ["scan", "once"] as const) {
      await using target = await victim();
      const { code, stderr } = await rcap(target[command], { prefix });
      assertEquals(code, 0, stderr);
      assert(pssOf(target.pid) <= 13 * MIB);
    }
    const { code } = await examined({ prefix });
    assertEquals(code, 0);
  });

  Deno.test(`statx answered ${error}: scans work, and run works or ends with a message`, async () => {
    await using target = await victim();
    const prefix = refuser.refusing(["statx"], error);
    for (const args of [target.dryRun, target.inspect, target.scan]) {
      const { code, stderr } = await rcap(args, { prefix });
      assertEquals(code, 0, stderr);
    }
    const { code, stderr } = await rcap(target.once, { prefix });
    if (code !== 0) assertMatch(stderr, /^rcap: .+/);
    assertEquals((await examined({ prefix })).code, 0);
  });
}

Deno.test("root without the capability gets a message about it, not about a filter", async () => {
  const prefix = refuser.refusing(["perf_event_open"], "EPERM");
  const { findings } = await examined({
    prefix: [
      ...prefix,
      "setpriv",
      "--bounding-set=-bpf,-sys_admin",
      "--",
    ],
  });
  assertMatch(named(findings, "BPF").detail, /: rcap is without CAP_BPF$/);
});
