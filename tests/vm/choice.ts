/**
 * Which machines to test on, and what to test: `RCAP_VM` and `RCAP_BIN`.
 *
 * @module
 */

import { ageOf } from "./files.ts";

/** All machines. */
const NAMES = [
  "6.1-la57",
  "6.12-la57",
  "6.12-4level",
  "newest-la57",
  "newest-4level",
  "criu",
  "6.1-reclaim",
  "6.12-reclaim",
  "newest-reclaim",
  "reboot",
];

/** Whether a machine is to be tested on: `RCAP_VM` names it, or none. */
export function isChosen(machine: string): boolean {
  const chosen = Deno.env.get("RCAP_VM")?.split(",") ?? NAMES;
  const unknown = chosen.find((name) => !NAMES.includes(name));
  if (unknown === undefined) return chosen.includes(machine);
  throw new Error(
    `RCAP_VM: there is no machine "${unknown}", only ${NAMES.join(", ")}`,
  );
}

/** The compiled rcap. */
export function binary(): string {
  const built = new URL("../../dist/rcap", import.meta.url).pathname;
  const path = Deno.env.get("RCAP_BIN") || built;
  if (ageOf(path) < Infinity) return path;
  throw new Error(`there is no ${path}: make it with \`deno task build\``);
}
