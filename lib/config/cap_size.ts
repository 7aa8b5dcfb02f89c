/**
 * The size of a cap: the limits on it, which hold in a file and on the command line.
 *
 * @module
 */

import { UsageError } from "../errors.ts";
import { exactSize, formatBeside, parseSize } from "../report/units.ts";

/** The smallest page there is: nothing resident is smaller. */
const LEAST_CAP = 4096;

/**
 * Parses the size of a cap.
 *
 * @param what names the value in messages.
 * @param totalMemory of the machine, in bytes; percentages are of it.
 * @returns bytes.
 * @throws UsageError if the text is not a size, or less than a page.
 */
export function parseCapSize(
  text: string,
  { what, totalMemory }: { what: string; totalMemory: () => number },
): number {
  const bytes = parseSize(text, { what, totalMemory, least: LEAST_CAP });
  if (bytes >= LEAST_CAP) return bytes;
  throw new UsageError(
    `${what}: "${text}" is less than a page of memory, ${exactSize(LEAST_CAP)}`,
    /^\d+$/.test(text)
      ? `a number without a unit is bytes: did you mean "${text}M"?`
      : undefined,
  );
}

/**
 * Says that a cap is larger than the memory of the machine, so that nothing exceeds
 * it; the text begins with the cap.
 *
 * @param cap in bytes, as `totalMemory`.
 * @returns `undefined` if the cap is not larger.
 */
export function describeExcessiveCap(
  cap: number,
  totalMemory: number,
): string | undefined {
  if (cap <= totalMemory) return undefined;
  const format = formatBeside(totalMemory, cap);
  return `${format(cap)} is larger than the ${
    format(totalMemory)
  } of memory of this machine`;
}
