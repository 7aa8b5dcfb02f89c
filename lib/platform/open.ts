/**
 * The choice of the platform by the operating system that rcap runs on.
 *
 * @module
 */

import { linux } from "./linux/system.ts";
import type {
  OperatingSystem,
  PagedataSourceName,
  Platform,
} from "./platform.ts";

/** The operating system that rcap runs on. */
export function operatingSystem(): OperatingSystem {
  return linux;
}

/**
 * Opens the processes of this machine.
 *
 * @param choice which source of reference bits; `auto` takes the best that works.
 * @param warn told why, when `auto` does not get the best.
 * @throws CapabilityError when the chosen one does not work here.
 */
export function openPlatform(
  choice: PagedataSourceName | "auto",
  warn: (message: string) => void,
): Platform {
  return operatingSystem().open(choice, warn);
}
