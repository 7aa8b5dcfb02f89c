/**
 * Chooses the source of reference bits.
 *
 * @module
 */

import { CapabilityError } from "../../errors.ts";
import type { PagedataSourceName } from "../platform.ts";
import { PageTables } from "./page_tables.ts";
import type { PagedataSource } from "./pagedata_source.ts";
import { lacking } from "./privileges.ts";
import { PteSource } from "./pte_source.ts";
import { SmapsSource } from "./smaps_source.ts";

/** Names of the sources, the best first. */
export const PAGEDATA_SOURCES = [
  "pte",
  "smaps",
] as const satisfies readonly PagedataSourceName[];

/**
 * Opens a source.
 *
 * @param choice `auto` opens the best source that works.
 * @param warn receives the reason if `auto` does not open the best source.
 * @throws CapabilityError if the chosen source does not work here.
 */
export function openPagedataSource(
  choice: PagedataSourceName | "auto",
  warn: (message: string) => void,
): PagedataSource {
  if (choice === "smaps") return new SmapsSource();
  try {
    const tables = PageTables.open();
    if (tables.hasSoftDirty && lacking(["CAP_SYS_NICE"]).length > 0) {
      warn(
        "memory in use may look idle: the kernel keeps soft-dirty bits, which rcap does not reset, and without CAP_SYS_NICE references cannot be reset exactly",
      );
    }
    return new PteSource(tables);
  } catch (error) {
    if (!(error instanceof CapabilityError)) throw error;
    if (choice === "pte") {
      throw new CapabilityError(
        `--pagedata pte does not work: ${error.message}`,
        {
          cause: error,
        },
      );
    }
    warn(
      `references are known a mapping at a time only (smaps): ${error.message}`,
    );
    return new SmapsSource();
  }
}
