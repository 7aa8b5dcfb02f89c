/**
 * The operating system that the tests run on.
 *
 * @module
 */

import { operatingSystem } from "./open.ts";
import type { PagedataSourceName, Platform } from "./platform.ts";

/** The operating system of the tests. */
export const system = operatingSystem();

/** Opens the processes of this machine: `open` of `OperatingSystem`. */
export function openPlatform(
  choice: PagedataSourceName | "auto",
  warn: (message: string) => void,
): Platform {
  return system.open(choice, warn);
}
