/**
 * `rcap doctor`: what works on this machine, and why not the rest.
 *
 * @module
 */

import { green, red, type Style, yellow } from "@std/fmt/colors";
import { Command } from "@commander-js/extra-typings";
import { operatingSystem } from "../lib/platform/open.ts";
import type { Finding } from "../lib/platform/platform.ts";
import { json, lines, type Printable } from "../lib/report/escape.ts";
import {
  chooseColumns,
  type Column,
  renderTable,
} from "../lib/report/table.ts";
import {
  bareOption,
  type Context,
  exactOption,
  fieldsOption,
  jsonOption,
} from "./options.ts";

/** Exit code when something that every scan needs is missing. */
const REQUIRED_MISSING = 4;

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

/** The columns that are printed unless others are asked for; the rest stands below. */
const DEFAULT_COLUMNS = "name,status,detail";

const STYLES: Readonly<Record<Finding["status"], Style>> = {
  ok: green,
  degraded: yellow,
  missing: red,
};

const HELP = `
Columns: ${COLUMNS.map(({ name }) => name).join(", ")}

Exit status: 0 rcap works here, if not at its best; 4 something that every scan
needs is missing; 2 usage; 1 anything else.`;

/** The command. */
export function doctorCommand(context: Context) {
  return new Command("doctor")
    .summary("what works on this machine, and why not the rest")
    .description(
      "Tries on rcap itself everything that rcap can use on this machine, and tells\n" +
        "what it means and what to do where it does not work.",
    )
    .addOption(jsonOption)
    .addOption(bareOption)
    .addOption(fieldsOption)
    .addOption(exactOption)
    .addHelpText("after", HELP)
    .action(async (options) => {
      const { color, print } = context;
      const bare = !options.header;
      const columns = chooseColumns(
        COLUMNS,
        options.output ?? (bare ? undefined : DEFAULT_COLUMNS),
      );
      const findings = await operatingSystem().examine();
      if (options.json) {
        const capabilities = findings;
        await print(json({ version: 1, capabilities }));
      } else {
        const exact = options.parsable === true;
        const isExplained = !bare && options.output === undefined;
        await print(
          renderTable(columns, { rows: findings, bare, exact, color }),
          ...(isExplained ? [explain(findings)] : []),
        );
      }
      if (
        findings.some(({ required, status }) =>
          required && status === "missing"
        )
      ) {
        context.setExitCode(REQUIRED_MISSING);
      }
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
