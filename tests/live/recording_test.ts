/**
 * Tests of recordings of live processes whose use of memory is known: hot pages, warm ones
 * that are used in rounds, and cold ones.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { HURRY } from "../../lib/platform/environment.ts";
import type { HeatReport } from "../../lib/oneshot/inspect_heat.ts";
import type { RecordResult } from "../../lib/oneshot/record.ts";
import type { RecordingReport } from "../../lib/oneshot/recording_report.ts";
import type { ReplayReport } from "../../lib/oneshot/replay.ts";
import type { SizeReport } from "../../lib/oneshot/size_report.ts";
import { CProcess } from "../support/c_program.ts";
import { cap, quicklyBy, TestDaemon } from "../support/daemon.ts";
import { Folder } from "../support/folder.ts";
import { MIB, requireRoot } from "../support/live.ts";
import { rcap, rcapJson, startRcap } from "../support/rcap.ts";
import { zramSwap } from "../support/swap.ts";
import { rssOf, until } from "../support/workload.ts";

requireRoot();

// Opened before the first test, which would otherwise appear to leak it.
libc();

const PAGE = 4096;
const HOT = 8192;
const WARM = 6144;
const COLD = 16_384;
/** How much faster time passes for a daemon. */
const FASTER = 3;

function startReuse(): Promise<CProcess> {
  const pages = [HOT, WARM, COLD].map(String);
  return CProcess.start("reuse", ...pages, "8000");
}

async function report(
  path: string,
  ...args: string[]
): Promise<RecordingReport> {
  const { code, json, stderr } = await rcapJson<RecordingReport>([
    "report",
    path,
    ...args,
  ]);
  assertEquals(code, 0, stderr);
  return json;
}

Deno.test("a recording shows what a process is known to use, and nothing is paged out", async () => {
  using folder = new Folder();
  await using one = await startReuse();
  const before = rssOf(one.pid);
  const path = folder.file("one.rcap");
  const { code, json, stderr } = await rcapJson<RecordResult>([
    "record",
    `pid:${one.pid}`,
    ...["-o", path, "--for", "24s", "--every", "2s"],
  ]);
  assertEquals(code, 0, stderr);
  assert(rssOf(one.pid) >= before - MIB);
  assertEquals(json.file, path);
  assertEquals(json.size, Deno.statSync(path).size);
  assertEquals((Deno.statSync(path).mode ?? 0) & 0o777, 0o600);
  assert(json.steps >= 10 && json.steps <= 12, `${json.steps}`);
  const found = await report(path);
  const { summary, heat } = found;
  assertEquals(found.ended, "done");
  assert(summary.neverUsed > (COLD - 100) * PAGE, `${summary.neverUsed}`);
  // In two seconds: the hot pages, and a quarter of a round.
  const used = (HOT + WARM / 4) * PAGE;
  assert(
    summary.meanUsed > used * 0.85 && summary.meanUsed < used * 1.25,
    `${summary.meanUsed / PAGE} pages`,
  );
  const last = found.timeline[found.timeline.length - 1];
  assert(Math.abs(last.workingSet - (HOT + WARM) * PAGE) < 3 * MIB);
  // Rows of the three parts: always used, in turns, and never.
  const width = heat.columns.length;
  const means = heat.rows.map((_, row) =>
    heat.used.slice(row * width, (row + 1) * width)
      .reduce((sum, share) => sum + share, 0) / width
  );
  const share = (test: (mean: number) => boolean) =>
    heat.rows.reduce(
      (sum, { bytes }, row) => sum + (test(means[row]) ? bytes : 0),
      0,
    ) / PAGE;
  assert(share((mean) => mean > 0.9) > HOT * 0.9);
  assert(share((mean) => mean < 0.1) > COLD * 0.9);
  assert(share((mean) => mean > 0.1 && mean < 0.5) > WARM * 0.8);
  const part = await report(path, "--from", "4s", "--to", "8s");
  assert(part.timeline.length >= 1 && part.timeline.length <= 3);

  const sized = await rcapJson<SizeReport>(["size", "--from", path]);
  assertEquals(sized.code, 0, sized.stderr);
  const { recommended } = sized.json.groups[0];
  const least = (HOT + WARM) * PAGE;
  assert(
    recommended && recommended.cap >= least &&
      recommended.cap < least * 1.15 + 4 * MIB,
    JSON.stringify(recommended),
  );
  const cap = `${Math.round(recommended.cap)}`;
  const replayed = await rcapJson<ReplayReport>([
    "replay",
    path,
    ...["--cap", cap],
  ]);
  assertEquals(replayed.code, 0, replayed.stderr);
  for (const { pagedOut } of replayed.json.policies) {
    assert(pagedOut > COLD / 2, `${pagedOut}`);
  }
  const [text, csv, compared] = [
    await rcap(["report", path]),
    await rcap(["report", path, "--csv"]),
    await rcap(["report", path, path]),
  ];
  assertStringIncludes(text.stdout, "Working set: ");
  assertStringIncludes(text.stdout, "anonymous");
  assertEquals(
    csv.stdout.trim().split("\n").length,
    found.timeline.length + 1,
  );
  assertStringIncludes(compared.stdout, "0 %");
});

Deno.test("inspect --heat shows one observation as one column", async () => {
  await using one = await startReuse();
  const { code, json, stderr } = await rcapJson<HeatReport>([
    "inspect",
    `${one.pid}`,
    ...["--heat", "--observe", "2s"],
  ]);
  assertEquals(code, 0, stderr);
  const { rows, columns, used } = json.heat;
  assertEquals(columns, [2]);
  assertEquals(used.length, rows.length);
  const bytesOf = (test: (share: number) => boolean) =>
    rows.reduce((sum, { bytes }, at) => sum + (test(used[at]) ? bytes : 0), 0);
  assert(bytesOf((share) => share > 0.9) > HOT * PAGE * 0.9);
  assert(bytesOf((share) => share < 0.1) > COLD * PAGE * 0.9);
  const { stdout } = await rcap(["inspect", `${one.pid}`, "--heat"]);
  assertStringIncludes(stdout, "Use of what was in memory: ");
  const { code: usage } = await rcap([
    "inspect",
    `${one.pid}`,
    ...["--heat", "--ages"],
  ]);
  assertEquals(usage, 2);
});

Deno.test("what was recorded is readable after SIGKILL, and SIGINT ends it well", async () => {
  using folder = new Folder();
  await using one = await startReuse();
  const start = async (name: string) => {
    const path = folder.file(name);
    const running = startRcap([
      "record",
      `pid:${one.pid}`,
      ...["-o", path, "--for", "5m", "--every", "1s"],
    ]);
    // The first step has the whole process.
    await until(
      () => {
        try {
          return Deno.statSync(path).size > 400;
        } catch {
          return false;
        }
      },
      "a step to be written",
    );
    await new Promise((resolve) => setTimeout(resolve, 3000));
    return { path, running };
  };
  const killed = await start("killed.rcap");
  killed.running.child.kill("SIGKILL");
  await killed.running.end();
  const left = await report(killed.path);
  assertEquals(left.ended, null);
  assert(left.steps >= 2, `${left.steps} steps`);

  const ended = await start("ended.rcap");
  ended.running.child.kill("SIGINT");
  const { code, stdout } = await ended.running.end();
  assertEquals(code, 130);
  assertStringIncludes(stdout, "then interrupted; nothing was paged out");
  const found = await report(ended.path);
  assertEquals(found.ended, "interrupted");
  assert(found.steps >= 2);
});

Deno.test("neither a file nor a planted link is overwritten, and damage is refused by its place", async () => {
  using folder = new Folder();
  await using one = await startReuse();
  const [victim, link] = [folder.file("victim"), folder.file("link")];
  Deno.writeTextFileSync(victim, "precious");
  Deno.symlinkSync(victim, link);
  Deno.symlinkSync(folder.file("missing"), folder.file("dangling"));
  for (const name of ["victim", "link", "dangling"]) {
    const { code, stderr } = await rcap([
      "record",
      `pid:${one.pid}`,
      ...["-o", folder.file(name), "--for", "2s", "--every", "1s"],
    ]);
    assertEquals(code, 1, stderr);
    assertStringIncludes(stderr, "exists already, and nothing is overwritten");
  }
  assertEquals(Deno.readTextFileSync(victim), "precious");
  const other = await rcap(["report", victim]);
  assertEquals(other.code, 1);
  assertStringIncludes(other.stderr, "is not a recording of rcap");

  const path = folder.file("one.rcap");
  await rcap([
    "record",
    `pid:${one.pid}`,
    ...["-o", path, "--for", "3s", "--every", "1s", "--anonymize"],
  ]);
  const alias = folder.file("one-link");
  Deno.symlinkSync(path, alias);
  const linked = await rcap(["report", alias]);
  assertEquals(linked.code, 1);
  assertStringIncludes(
    linked.stderr,
    `${alias} is a symbolic link, which is not followed; name the file itself`,
  );
  const bytes = Deno.readFileSync(path);
  const { processes, mappings } = await report(path);
  assertEquals(processes.map(({ pid, comm }) => [pid, comm]), [
    [1, "process-1"],
  ]);
  assert(mappings.every(({ name }) => !name.includes("/")));
  bytes[bytes.length >> 1] ^= 1;
  Deno.writeFileSync(path, bytes);
  const damaged = await rcap(["report", path]);
  assertEquals(damaged.code, 1);
  assert(/is damaged at byte \d+: /.test(damaged.stderr), damaged.stderr);
});

Deno.test("a full disk ends a recording, which is readable until then", async () => {
  using folder = new Folder();
  const mount = new Deno.Command("mount", {
    args: ["-t", "tmpfs", "-o", "size=8k", "rcap-test", folder.path],
  });
  assert((await mount.output()).success);
  try {
    // One page is left.
    Deno.writeFileSync(folder.file("filler"), new Uint8Array(PAGE));
    await using one = await startReuse();
    const path = folder.file("one.rcap");
    const { code, stderr } = await rcap([
      "record",
      `pid:${one.pid}`,
      ...["-o", path, "--for", "2m", "--every", "1s"],
    ]);
    assertEquals(code, 1, stderr);
    const told = /the first (\d+) steps/.exec(stderr)?.[1];
    const found = await report(path);
    assertEquals(`${found.steps}`, told, stderr);
    assert(found.steps > 0 && found.cutAt !== null);
  } finally {
    await new Deno.Command("umount", { args: [folder.path] }).output();
  }
});

Deno.test("a daemon records its members, far below their cap too", async () => {
  // A daemon records what could go: without swap, that is nearly nothing.
  await using _swap = await zramSwap({ size: 256 * MIB });
  using folder = new Folder();
  await using one = await startReuse();
  const path = folder.file("recordings");
  {
    await using daemon = await TestDaemon.start({
      config: quicklyBy("coldest") +
        `record = "${path}"\nrecord_limit = "1M"\n` +
        cap("one", [`pid:${one.pid}`], "4G"),
      env: { [HURRY]: `${FASTER}` },
    });
    await new Promise((resolve) => setTimeout(resolve, 15_000));
    daemon.signal("SIGTERM");
    await daemon.ended;
  }
  const [name] = [...Deno.readDirSync(path)].map(({ name }) => name).sort();
  const found = await report(`${path}/${name}`);
  assertEquals(found.processes.map(({ pid }) => pid), [one.pid]);
  assertEquals(found.ended, "done");
  const last = found.timeline[found.timeline.length - 1];
  // Its times are those of the daemon's clock, which was hurried.
  assert(last.seconds > 12 * FASTER, `${last.seconds} s`);
  assert(last.size > (HOT + WARM + COLD) * PAGE, `${last.size}`);
  assert(last.pageable > (HOT + WARM + COLD - 100) * PAGE, `${last.pageable}`);
  assert(found.summary.largestWorkingSet >= HOT * PAGE * 0.9);
  assertEquals((Deno.statSync(path).mode ?? 0) & 0o777, 0o700);
});
