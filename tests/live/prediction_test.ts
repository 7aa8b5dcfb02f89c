/**
 * Tests that a dry run predicts what a scan does, of processes that map memory more
 * than once and of programs that most machines have. `bench:predict` does the same
 * with larger applications.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { InspectReport } from "../../lib/oneshot/inspect.ts";
import { waitingFor } from "../support/deadline.ts";
import { MIB, requireRoot } from "../support/live.ts";
import { errorOf, predict, type Prediction } from "../support/prediction.ts";
import { rcapJson } from "../support/rcap.ts";
import { anySwap } from "../support/swap.ts";
import { until } from "../support/workload.ts";

requireRoot();

const SOURCE = new URL("../fixtures/sharing.c", import.meta.url).pathname;
const SIZE = 64 * MIB;

/** By what share of the size a prediction may be wrong. */
const TOLERANCE = 0.02;

const SOURCES = ["pte", "smaps"] as const;

/** A program that prints a line when its memory is filled, and ends with its input. */
async function start(
  command: string[],
): Promise<AsyncDisposable & { pid: number }> {
  const [program, ...args] = command;
  const process = new Deno.Command(program, {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const lines = process.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const { value = "" } = await waitingFor(`${program} to start`, lines.read());
  assert(value !== "", `${command.join(" ")} starts`);
  return {
    pid: process.pid,
    async [Symbol.asyncDispose]() {
      process.kill("SIGKILL");
      await lines.cancel();
      await process.stdin.close().catch(() => {});
      await process.status;
    },
  };
}

async function build(): Promise<Disposable & { path: string }> {
  const folder = Deno.makeTempDirSync({ prefix: "rcap-" });
  const path = `${folder}/sharing`;
  const { success, stderr } = await new Deno.Command("cc", {
    args: ["-O1", "-Wall", "-Wextra", "-Werror", SOURCE, "-o", path],
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return {
    path,
    [Symbol.dispose]: () => Deno.removeSync(folder, { recursive: true }),
  };
}

function assertClose(prediction: Prediction): void {
  const { promised, met } = prediction;
  assert(errorOf(prediction) <= TOLERANCE, JSON.stringify(prediction));
  assertEquals(promised, met, JSON.stringify(prediction));
}

for (const mode of ["fork", "shared", "twice"]) {
  for (const source of SOURCES) {
    Deno.test(`a dry run knows that memory mapped more than once stays: ${mode}, ${source}`, async () => {
      using program = await build();
      await using _swap = await anySwap({ size: 512 * MIB });
      await using process = await start([program.path, mode, `${SIZE}`]);
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
  using program = await build();
  await using _swap = await anySwap({ size: 256 * MIB });
  await using process = await start([program.path, "twice", `${SIZE}`]);
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
    await using process = await start(command);
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
  await using process = await start([
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
