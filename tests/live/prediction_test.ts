/**
 * Tests that a dry run predicts what a scan does, of processes that map memory more
 * than once and of programs that most machines have. `bench:predict` does the same
 * with larger applications.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { InspectReport } from "../../lib/oneshot/inspect.ts";
import { MIB, requireRoot } from "../support/live.ts";
import { errorOf, predict, type Prediction } from "../support/prediction.ts";
import { rcapJson } from "../support/rcap.ts";
import { buildSharing, startProgram } from "../support/sharing.ts";
import { anySwap } from "../support/swap.ts";
import { until } from "../support/workload.ts";

requireRoot();

const SIZE = 64 * MIB;

/** By what share of the size a prediction may be wrong. */
const TOLERANCE = 0.02;

const SOURCES = ["pte", "smaps"] as const;

function assertClose(prediction: Prediction): void {
  const { promised, met } = prediction;
  assert(errorOf(prediction) <= TOLERANCE, JSON.stringify(prediction));
  assertEquals(promised, met, JSON.stringify(prediction));
}

for (const mode of ["fork", "shared", "twice"]) {
  for (const source of SOURCES) {
    Deno.test(`a dry run knows that memory mapped more than once stays: ${mode}, ${source}`, async () => {
      using program = await buildSharing();
      await using _swap = await anySwap({ size: 512 * MIB });
      await using process = await startProgram([program.path, mode, `${SIZE}`]);
      const { pid } = process;
      // Half of what is mapped once goes; then all of it would have to.
      const options = ["--pagedata", source];
      const first = await predict(pid, ["--excess", "16M", ...options]);
      assertClose(first);
      assert(first.met, JSON.stringify(first));
      const second = await predict(pid, ["--cap", "1M", ...options]);
      assertClose(second);
      assert(!second.met, JSON.stringify(second));
    });
  }
}

Deno.test("inspect shows what is mapped once", async () => {
  using program = await buildSharing();
  await using _swap = await anySwap({ size: 256 * MIB });
  await using process = await startProgram([program.path, "twice", `${SIZE}`]);
  const { json } = await rcapJson<InspectReport>(["inspect", `${process.pid}`]);
  const of = (name: string) =>
    json.mappings.filter((mapping) => mapping.name.includes(name))
      .map(({ rss, own, verdict }) => ({ rss, own, verdict }));
  assertEquals(
    of("memfd:views"),
    Array(3).fill({ rss: SIZE, own: 0, verdict: "shared" }),
  );
  assertEquals(of("memfd:sharing"), [
    { rss: SIZE, own: SIZE, verdict: "cold" },
  ]);
});

const PROGRAMS: Readonly<Record<string, string[]>> = {
  perl: [
    "perl",
    "-e",
    "$| = 1; my @a = map { 'x' x 100 . $_ } 1 .. 300000; print qq(+\n); <STDIN>",
  ],
  python3: [
    "python3",
    "-c",
    "a = [str(i) * 10 for i in range(500000)]\nprint('+', flush=True)\ninput()",
  ],
  node: [
    "node",
    "-e",
    "const a = Array.from({ length: 1e6 }, (_, i) => ({ i })); console.log('+'); process.stdin.on('end', () => process.exit(a.length)).resume()",
  ],
};

for (const [name, command] of Object.entries(PROGRAMS)) {
  Deno.test(`a dry run predicts what a scan of ${name} leaves`, async () => {
    await using _swap = await anySwap({ size: 512 * MIB });
    await using process = await startProgram(command);
    const { pid } = process;
    await until(() => isQuiet(pid), `${name} to be quiet`);
    for (const goal of [["--excess", "20M"], ["--cap", "1M"]]) {
      assertClose(await predict(pid, goal));
    }
  });
}

/** Whether the main thread of a process sleeps. */
function isQuiet(pid: number): boolean {
  return /^State:\s+S/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
}

Deno.test("a scan says that the cap is met only if it is, beside a process that uses its memory all the time", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using process = await startProgram([
    "perl",
    "-e",
    `$| = 1; my $a = "x" x (64 << 20); print qq(+\\n); for (;;) { for (my $i = 0; $i < length $a; $i += 4096) { substr($a, $i, 1) = "y" } }`,
  ]);
  const { code, json } = await rcapJson<{
    capMet: boolean;
    rssAfter: number;
    cap: number;
  }>(["scan", `pid:${process.pid}`, "--cap", "30M", "--observe", "1s"]);
  assertEquals(json.capMet, json.rssAfter <= json.cap);
  assertEquals(code, json.capMet ? 0 : 3);
  const rss = Number(
    /^VmRSS:\s+(\d+) kB/m.exec(
      Deno.readTextFileSync(`/proc/${process.pid}/status`),
    )?.[1],
  ) * 1024;
  assert(rss > 60 * MIB, `the process has ${rss}`);
});
