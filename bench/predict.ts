/**
 * Compares what a dry run predicts with what the scan leaves, of ten applications that
 * are stopped in between. Exits with 1 if a prediction is wrong by more than 2 %.
 *
 * Needs root, zram and the applications; those that are not installed are named and
 * left out.
 *
 * `predict.ts [NAME…]`: only applications whose names contain one of these.
 *
 * @module
 */

import { type Column, renderTable } from "../lib/report/table.ts";
import {
  errorOf,
  predict,
  type Prediction,
  treeOf,
} from "../tests/support/prediction.ts";
import { say } from "../tests/support/say.ts";
import { zramSwap } from "../tests/support/swap.ts";
import { pssOf } from "../tests/support/workload.ts";
import {
  APPLICATIONS,
  isInstalled,
  startApplication,
} from "./support/applications.ts";

/** By what share of the size a prediction may be wrong. */
const TOLERANCE = 0.02;

/** A cap that half of the memory exceeds, as far as possible, and one that cannot be met. */
const SHARES = [0.5, 0.01];

interface Row extends Prediction {
  readonly name: string;
  readonly cap: number;
}

const rows: Row[] = [];
{
  await using _swap = await zramSwap({ size: 2 ** 32 });
  for (const kind of APPLICATIONS) {
    const { name } = kind;
    const isWanted = Deno.args.length === 0 ||
      Deno.args.some((part) => name.toLowerCase().includes(part.toLowerCase()));
    if (!isWanted) continue;
    if (!await isInstalled(kind)) {
      say(`${name} is not installed: apt-get install ${kind.package}`);
      continue;
    }
    await using application = await startApplication(kind);
    const { pid } = application;
    const size = treeOf(pid).reduce((sum, one) => sum + pssOf(one), 0);
    for (const share of SHARES) {
      const cap = Math.round(size * share);
      rows.push({ name, cap, ...await predict(pid, ["--cap", `${cap}`]) });
    }
  }
}

const size = (name: string, value: (row: Row) => number): Column<Row> => ({
  name,
  kind: "size",
  value,
});
const columns: Column<Row>[] = [
  { name: "application", kind: "text", value: ({ name }) => name },
  size("before", ({ before }) => before),
  size("cap", ({ cap }) => cap),
  size("predicted", ({ predicted }) => predicted),
  size("left", ({ after }) => after),
  {
    name: "error",
    kind: "number",
    value: (row) => `${(errorOf(row) * 100).toFixed(2)} %`,
  },
  {
    name: "met",
    kind: "text",
    value: ({ promised, met }) =>
      `${met ? "yes" : "no"}${promised === met ? "" : ", not as predicted"}`,
  },
];
say(renderTable(columns, { rows, bare: false, exact: false, color: false }));
if (rows.some((row) => errorOf(row) > TOLERANCE)) Deno.exit(1);
