/**
 * Measures what a short command costs: processor time and resident memory of the
 * binary, beside a program of one line that `deno compile` made in the same way. It
 * only reports.
 *
 *     RCAP_BIN=dist/rcap deno run --allow-all bench/start.ts [PAIRS]
 *
 * Needs Perl, and the runtime of `deno compile`.
 *
 * @module
 */

import { COMPILE_FLAGS } from "../scripts/build.ts";
import { type Column, renderTable } from "../lib/report/table.ts";
import { say } from "../tests/support/say.ts";
import { median } from "../lib/platform/linux/median.ts";

const PAIRS = Number(Deno.args[0] ?? 8);
const BINARY = Deno.env.get("RCAP_BIN") ??
  new URL("../dist/rcap", import.meta.url).pathname;
const USAGE = new URL("support/usage.pl", import.meta.url).pathname;

/** One run: milliseconds of processor time, and kilobytes. */
interface Run {
  readonly cpu: number;
  readonly maxRss: number;
}

/** Compiles a program that prints a version, with the options of rcap's build. */
async function compileBare(folder: string): Promise<string> {
  Deno.writeTextFileSync(`${folder}/bare.mjs`, `console.log("0.0.0");\n`);
  const output = `${folder}/bare`;
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["compile", ...COMPILE_FLAGS, "--output", output, "bare.mjs"],
    cwd: folder,
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return output;
}

async function run(command: readonly string[]): Promise<Run> {
  const { success, stdout, stderr } = await new Deno.Command("perl", {
    args: [USAGE, "1", ...command],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  const [cpu, maxRss] = new TextDecoder().decode(stdout).split(" ").map(Number);
  return { cpu, maxRss };
}

interface Row {
  readonly name: string;
  readonly cpu: number;
  readonly maxRss: number;
  /** Of the processor time of the bare program in the same pair. */
  readonly ratio: number;
}

const COLUMNS: readonly Column<Row>[] = [
  { name: "command", kind: "text", value: ({ name }) => name },
  { name: "cpu ms", kind: "number", value: ({ cpu }) => cpu.toFixed(1) },
  { name: "of bare", kind: "number", value: ({ ratio }) => ratio.toFixed(2) },
  {
    name: "rss MiB",
    kind: "number",
    value: ({ maxRss }) => (maxRss / 1024).toFixed(1),
  },
];

const folder = Deno.makeTempDirSync({ prefix: "rcap-bench-" });
try {
  const bare = await compileBare(folder);
  const commands: Record<string, string[]> = {
    "bare program": [bare],
    "rcap --version": [BINARY, "--version"],
    // Fails at once: nothing runs in that directory.
    "rcap stat": [BINARY, "stat", "--state-dir", folder],
    "rcap --help": [BINARY, "--help"],
  };
  const rows: Row[] = [];
  for (const [name, command] of Object.entries(commands)) {
    const runs: Run[] = [];
    const ratios: number[] = [];
    for (let pair = 0; pair < PAIRS; pair++) {
      const beside = await run([bare]);
      const one = await run(command);
      runs.push(one);
      ratios.push(one.cpu / beside.cpu);
    }
    rows.push({
      name,
      cpu: median(runs.map(({ cpu }) => cpu)),
      maxRss: median(runs.map(({ maxRss }) => maxRss)),
      ratio: median(ratios),
    });
  }
  say(`Medians of ${PAIRS} pairs, each beside a run of the bare program\n`);
  say(
    renderTable(COLUMNS, { rows, bare: false, exact: false, color: false }),
  );
} finally {
  Deno.removeSync(folder, { recursive: true });
}
