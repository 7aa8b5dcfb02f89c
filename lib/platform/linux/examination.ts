/**
 * What `rcap doctor` examines.
 *
 * @module
 */

import type { Finding } from "../platform.ts";

/** The result of an examination: the detail if all is well, otherwise what deviates from its texts. */
export type Seen =
  | string
  | Pick<Finding, "status" | "detail"> & Partial<Finding>;

/** One capability to try. */
export interface Examination {
  readonly name: string;
  readonly required: boolean;
  /** What it means if it works. */
  readonly meaning: string;
  /** What it means if it does not. */
  readonly without: string;
  /** What to do about that. */
  readonly remedy: string;
  look(): Seen | Promise<Seen>;
}
