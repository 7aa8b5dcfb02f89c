/**
 * Finds unknown keys in a configuration file: a misspelt setting must not be
 * ignored silently.
 *
 * @module
 */

import { CAP_KEYS, DAEMON_KEYS, type Fault } from "./config_schema.ts";
import { didYouMean } from "./did_you_mean.ts";
import type { TomlNode } from "./toml.ts";

/** A table: its header and its valid keys. */
interface Table {
  readonly header: string;
  readonly keys: readonly string[];
}

const DAEMON: Table = { header: "[daemon]", keys: DAEMON_KEYS };
const CAP: Table = { header: "[[cap]]", keys: CAP_KEYS };
const TABLES: Readonly<Record<string, Table>> = { daemon: DAEMON, cap: CAP };

/** Returns a fault for every unknown key of a file. */
export function unknownKeys({ children }: TomlNode): Fault[] {
  const faults = [...children.keys()]
    .filter((key) => !Object.hasOwn(TABLES, key))
    .map((key) => unknownAtTop(String(key)));
  for (const key of children.get("daemon")?.children.keys() ?? []) {
    // A key that is an index belongs to a list, not a table, which is reported
    // elsewhere.
    if (typeof key !== "string" || DAEMON.keys.includes(key)) continue;
    faults.push(unknownIn(DAEMON, key, ["daemon", key]));
  }
  for (const [index, cap] of children.get("cap")?.children ?? []) {
    if (typeof index !== "number") continue;
    for (const key of cap.children.keys()) {
      if (typeof key !== "string" || CAP.keys.includes(key)) continue;
      faults.push(unknownIn(CAP, key, ["cap", index, key]));
    }
  }
  return faults;
}

function unknownAtTop(key: string): Fault {
  const guess = didYouMean(key, Object.keys(TABLES));
  return {
    path: [key],
    message:
      `unknown key "${key}" outside of ${DAEMON.header} and ${CAP.header}`,
    suggestion: guess === undefined
      ? elsewhere(key, [DAEMON, CAP]) ??
        `the tables are ${DAEMON.header} and ${CAP.header}`
      : `did you mean ${TABLES[guess].header}?`,
  };
}

function unknownIn(table: Table, key: string, path: Fault["path"]): Fault {
  const others = Object.values(TABLES).filter((other) => other !== table);
  const guess = didYouMean(key, table.keys);
  return {
    path,
    message: `unknown key "${key}" in ${table.header}`,
    suggestion: guess === undefined
      ? elsewhere(key, others) ?? `the keys are ${table.keys.join(", ")}`
      : `did you mean ${guess}?`,
  };
}

/** Suggests the table in which a key belongs, or a key that it resembles. */
function elsewhere(key: string, tables: readonly Table[]): string | undefined {
  for (const { header, keys } of tables) {
    const guess = didYouMean(key, keys);
    if (guess === key) return `it belongs below ${header}`;
    if (guess !== undefined) return `did you mean ${guess}, below ${header}?`;
  }
}
