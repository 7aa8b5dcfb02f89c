/**
 * Tests of `rcap doctor`, with and without what it looks for.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { examined, named, NAMES, statuses } from "../../support/findings.ts";
import { MIB, requireRoot } from "../../support/live.ts";
import { rcap } from "../../support/rcap.ts";
import { swapPaths, zramSwap } from "../../support/swap.ts";

requireRoot();

/** A user that need not exist. */
const SOMEONE = 54_351;

Deno.test("root has all that a scan needs", async () => {
  const { code, findings } = await examined();
  assertEquals(code, 0);
  for (const { name, required, status } of findings) {
    if (required) assert(status !== "missing", name);
  }
  assertEquals(
    statuses(
      findings,
      "privileges",
      "pidfd",
      "process_madvise",
      "clear_refs",
      "smaps",
    ),
    ["ok", "ok", "ok", "ok", "ok"],
  );
  assertMatch(
    named(findings, "privileges").detail,
    /^root, with CAP_SYS_PTRACE, CAP_SYS_NICE/,
  );
  assertEquals(named(findings, "pagedata").status, "ok");
  assertEquals(named(findings, "map counts").status, "ok");
});

Deno.test("swap and zram of the machine are reported", async () => {
  const paths = swapPaths();
  const { findings } = await examined();
  const [swap, zram] = ["swap", "zram"].map((name) => named(findings, name));
  if (paths.length === 0) {
    assertEquals([swap.status, swap.detail], ["degraded", "none"]);
    assertMatch(swap.meaning, /anonymous memory cannot be paged out/);
    assertMatch(swap.remedy ?? "", /add swap/);
  } else {
    for (const path of paths) assert(swap.detail.includes(path), swap.detail);
  }
  if (!paths.some((path) => path.startsWith("/dev/zram"))) {
    assert(zram.status !== "ok");
    assertMatch(zram.remedy ?? "", /zramctl .*mkswap and swapon/);
  }
});

Deno.test("swap on zram is found, with its free space", async () => {
  await using swap = await zramSwap({ size: 64 * MIB });
  const { code, findings } = await examined();
  assertEquals(code, 0);
  assertEquals(statuses(findings, "swap", "zram"), ["ok", "ok"]);
  const [swapDetail, zramDetail] = ["swap", "zram"].map((name) =>
    named(findings, name).detail
  );
  assertMatch(swapDetail, /^\d\S* free of \d\S*: /);
  assert(swapDetail.includes(swap.path), swapDetail);
  assert(zramDetail.includes(`${swap.path}, 64.0M: holds `), zramDetail);
});

Deno.test("without root, the privileges are missing, and the rest is still reported", async () => {
  const { code, findings } = await examined({ uid: SOMEONE });
  assertEquals(code, 4);
  const privileges = named(findings, "privileges");
  assertEquals([privileges.status, privileges.required], ["missing", true]);
  assertEquals(
    privileges.detail,
    `uid ${SOMEONE}, without CAP_SYS_PTRACE, CAP_SYS_NICE, CAP_DAC_OVERRIDE`,
  );
  assertMatch(
    privileges.remedy ?? "",
    /run as root, or give the binary what it needs: setcap /,
  );
  assertEquals(statuses(findings, "pidfd", "clear_refs", "smaps"), [
    "ok",
    "ok",
    "ok",
  ]);
  const { code: again, stdout } = await rcap(["doctor"], { uid: SOMEONE });
  assertEquals(again, 4);
  assertMatch(stdout, /^privileges +missing +uid 54351, without /m);
});

/** A text in which all measured figures look alike. */
function withoutFigures(text: string): string {
  return text.replace(/\d[\d.]* (?=[nµm]?s\b|%)/g, "N ");
}

Deno.test("people get a table, then explanations and remedies", async () => {
  const { findings } = await examined();
  const { code, stdout, stderr } = await rcap(["doctor"]);
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
  const [header, ...lines] = stdout.split("\n");
  // What is measured is another figure each time.
  const shown = withoutFigures(stdout);
  assertMatch(header, /^NAME +STATUS +DETAIL$/);
  for (const { name, status, meaning, remedy } of findings) {
    const row = lines.find((line) => line.startsWith(`${name} `));
    assert(row?.slice(name.length).trim().startsWith(status), row);
    assert(
      shown.includes(withoutFigures(`\n${name}: ${meaning}\n`)),
      `what ${name} means`,
    );
    if (remedy) {
      assert(
        stdout.includes(`\n  remedy: ${remedy}\n`),
        `what to do about ${name}`,
      );
    }
  }
});

Deno.test("scripts get one line per check, with the columns they choose", async () => {
  const all = await rcap(["doctor", "-H"]);
  const rows = all.stdout.split("\n").slice(0, -1).map((line) =>
    line.split("\t")
  );
  assertEquals(rows.map(([name]) => name), NAMES);
  assert(rows.every((row) => row.length === 5), all.stdout);
  const chosen = await rcap(["doctor", "-H", "-o", "status,name"]);
  assertEquals(
    chosen.stdout,
    rows.map(([name, status]) => `${status}\t${name}\n`).join(""),
  );
});

Deno.test("what a reference and a page-in cost is measured, and what that means", async () => {
  await using swap = await zramSwap({ size: 64 * MIB, priority: 32_767 });
  const { findings } = await examined();
  const references = named(findings, "references");
  assertEquals(references.status, "ok");
  assertMatch(
    references.detail,
    /^the first one to a page takes \d[\d.]* [nµm]s longer after a reset$/,
  );
  assertMatch(
    references.meaning,
    /^resetting 1 GiB in use every 5 s would take (about \d[\d.]* %|all) of its process's time$/,
  );
  const pageIn = named(findings, "page-in");
  assertEquals(pageIn.status, "ok");
  const device = swap.path.slice("/dev/".length);
  assertMatch(
    pageIn.detail,
    new RegExp(`^takes \\d[\\d.]* [µm]s from ${device}(, |;)`),
  );
  assertMatch(pageIn.meaning, new RegExp(`about \\d\\S* s from ${device}`));
});

Deno.test("a DAMON that runs is named, and none that does not", async () => {
  const { findings } = await examined();
  const { status, detail, meaning } = named(findings, "other observers");
  const running = [...Deno.readDirSync("/proc")]
    .filter(({ name }) => /^\d+$/.test(name))
    .flatMap(({ name }) => {
      try {
        return [Deno.readTextFileSync(`/proc/${name}/comm`).trim()];
      } catch {
        // It has exited.
        return [];
      }
    }).filter((comm) => /^kdamond\.\d+$/.test(comm));
  if (running.length === 0) {
    assertEquals(status, "ok");
    assertMatch(detail, /^DAMON does not run/);
    return;
  }
  assertEquals(status, "degraded");
  assert(detail.startsWith(`DAMON runs: ${running.join(", ")}`), detail);
  assertMatch(meaning, /DAMON resets reference bits, too/);
});
