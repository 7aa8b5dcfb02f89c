/**
 * Processes that grow by memory that they do not use again: it may be a leak.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import type { MappingFigures } from "../platform/platform.ts";
import { formatSize, hex } from "../report/units.ts";
import type { UnusedGrowth } from "../scanner/unused_growth.ts";
import type { Member } from "./member.ts";

/** A process that may leak. Sizes are in bytes, addresses hexadecimal with 0x. */
export interface Growth {
  readonly pid: number;
  readonly comm: string;
  /** How much appeared and was not used again; a lower bound. */
  readonly bytes: number;
  /** How long it was watched, in seconds. */
  readonly seconds: number;
  /** The mapping that has most of it. */
  readonly mapping: {
    readonly start: string;
    readonly end: string;
    /** `[heap]`, for instance; empty for anonymous memory without a name. */
    readonly name: string;
    readonly bytes: number;
  };
}

/** What a policy knows of a member. */
export interface MemberGrowth {
  readonly member: Member;
  /** How long it was watched, in seconds. */
  readonly seconds: number;
  readonly mappings: readonly UnusedGrowth[];
}

/** How long a process must have been watched, in seconds. */
const LEAST_TIME = 300;
/** What appeared later than this may still be used again, in seconds. */
export const LEAST_AGE = 60;
/** Less is not worth a word, in bytes. */
const LEAST_BYTES = 1 << 20;
/** Of what appeared, either half of the time has at least this share: it goes on. */
const LEAST_HALF = 0.25;
/** The most processes that are named. */
const MOST_PROCESSES = 5;
/** How much of the name of a mapping is kept. */
const LONGEST_NAME = 80;

/**
 * Returns the processes that may leak, the fastest first. Reads the mappings of those
 * that look so.
 */
export async function growthOf(
  members: readonly MemberGrowth[],
): Promise<Growth[]> {
  const found: Growth[] = [];
  for (const { member, seconds, mappings } of members) {
    if (seconds < LEAST_TIME || !goesOn(mappings)) continue;
    try {
      const figures = await member.memory.readMappings();
      const growth = growthIn(mappings, figures);
      if (growth) {
        const { pid, comm } = member.entry;
        found.push({ pid, comm, seconds: Math.round(seconds), ...growth });
      }
    } catch (error) {
      // It has exited, or does not answer.
      if (!(error instanceof ProcessError)) throw error;
    }
  }
  const rate = ({ bytes, seconds }: Growth) => bytes / seconds;
  return found.sort((a, b) => rate(b) - rate(a)).slice(0, MOST_PROCESSES);
}

/** Whether memory appeared that was not used again, in both halves of the time. */
function goesOn(mappings: readonly UnusedGrowth[]): boolean {
  const bytes = mappings.reduce((sum, one) => sum + one.resident + one.gone, 0);
  const early = mappings.reduce((sum, one) => sum + one.early, 0) / bytes;
  return bytes >= LEAST_BYTES &&
    early >= LEAST_HALF && early <= 1 - LEAST_HALF;
}

/**
 * Adds up what of it is anonymous memory. What has gone counts as far as its mapping has
 * something in swap: the process may have freed the rest.
 */
function growthIn(
  mappings: readonly UnusedGrowth[],
  figures: readonly MappingFigures[],
): Pick<Growth, "bytes" | "mapping"> | undefined {
  const anonymous = mappings.flatMap((one) => {
    const figure = figures.find(({ start, end }) =>
      start <= one.start && one.start < end
    );
    if (!figure || figure.perm[3] === "s" || figure.name.startsWith("/")) {
      return [];
    }
    const gone = Math.min(one.gone, figure.swapped);
    return [{ one, name: figure.name, bytes: one.resident + gone }];
  });
  if (!goesOn(anonymous.map(({ one }) => one))) return undefined;
  const bytes = anonymous.reduce((sum, one) => sum + one.bytes, 0);
  if (bytes < LEAST_BYTES) return undefined;
  const [most] = anonymous.sort((a, b) => b.bytes - a.bytes);
  return {
    bytes,
    mapping: {
      start: hex(most.one.start),
      end: hex(most.one.end),
      name: most.name.slice(0, LONGEST_NAME),
      bytes: most.bytes,
    },
  };
}

/** Describes growth in words. */
export function describeGrowth(
  { pid, comm, bytes, seconds, mapping }: Growth,
): string {
  const rate = formatSize(Math.round(bytes / seconds * 60));
  const place = `${mapping.name || "anonymous memory"} at ${mapping.start}`;
  return `process ${pid} (${comm}) may leak, at least ${rate} a minute: in ${
    Math.round(seconds / 60)
  } minutes ${formatSize(bytes)} was added that was not used again, ${
    formatSize(mapping.bytes)
  } of it in ${place}`;
}
