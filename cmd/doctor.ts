/**
 * `rcap doctor`: what works on this machine, and why the rest does not.
 *
 * @module
 */

import { green, red, type Style, yellow } from "@std/fmt/colors";
import { Command } from "@commander-js/extra-typings";
import { EXIT_CODES } from "../lib/errors.ts";
import type { Finding } from "../lib/platform/platform.ts";
import { lines, type Printable } from "../lib/report/escape.ts";
import type { Column } from "../lib/report/table.ts";
import { exitStatusHelp } from "./exit_status.ts";
import type { Context } from "./options.ts";
import { addTableOptions, columnNames, ResultTable } from "./result.ts";

const COLUMNS: readonly Column<Finding>[] = [
  { name: "name", kind: "text", value: ({ name }) => name },
  {
    name: "status",
    kind: "text",
    value: ({ status }) => status,
    style: (text, { status }) => STYLES[status](text),
  },
  { name: "detail", kind: "text", value: ({ detail }) => detail },
  { name: "meaning", kind: "text", value: ({ meaning }) => meaning },
  { name: "remedy", kind: "text", value: ({ remedy }) => remedy },
];

/** The columns shown by default; the others are printed below the table. */
const SHOWN = "name,status,detail";

const STYLES: Readonly<Record<Finding["status"], Style>> = {
  ok: green,
  degraded: yellow,
  missing: red,
};

const HELP = `
Columns: ${columnNames(COLUMNS)}

${
  exitStatusHelp({
    done: "rcap works here, perhaps with limits",
    failed: true,
    usage: "wrong usage",
    incapable: "something that every scan needs is missing",
  })
}`;

/** The command. */
export function doctorCommand(context: Context) {
  return addTableOptions(
    new Command("doctor")
      .description(
        "Tries everything that rcap can use on this machine, on rcap itself. Explains\n" +
          "what each finding means, and how to fix what does not work.",
      ),
  )
    .addHelpText("after", HELP)
    .action(async (options) => {
      const table = new ResultTable(
        { columns: COLUMNS, shown: SHOWN },
        options,
        context,
      );
      const findings = await context.system.examine();
      await table.print({
        json: { version: 1, capabilities: findings },
        rows: findings,
        below: options.output === undefined ? explain(findings) : undefined,
      });
      const isMissing = findings.some(({ required, status }) =>
        required && status === "missing"
      );
      if (isMissing) context.setExitCode(EXIT_CODES.incapable.code);
    });
}

/** What each capability means, and what to do about those that are not ok. */
function explain(findings: readonly Finding[]): Printable {
  return lines(...findings.flatMap(({ name, meaning, remedy }) => [
    "",
    `${name}: ${meaning}`,
    ...(remedy ? [`  remedy: ${remedy}`] : []),
  ]));
}
