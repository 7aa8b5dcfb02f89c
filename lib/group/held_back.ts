/**
 * What held rcap back, as sentences for users.
 *
 * @module
 */

import {
  type ByteRate,
  exactByteRate,
  type RefaultLimit,
  timeUnit,
} from "../report/rates.ts";
import { formatBeside, formatSize } from "../report/units.ts";
import type { HeldBack } from "./state.ts";

/** Memory pressure: the share of the last ten seconds in which some process waited. */
export interface PressureReading {
  /** From 0 to 1; `undefined` if it is not known. */
  readonly share: number | undefined;
  /** The cgroup; `undefined` for the whole machine. */
  readonly cgroup?: string;
  /** Which group has the most refaults, and how many a second; of the machine only. */
  readonly most?: { readonly name: string; readonly perSecond: number };
}

/** The group has more refaults in a minute, in pages, than it may. */
export function describeRefaults(
  { limit, inLastMinute, most, workingSet }: {
    limit: RefaultLimit;
    inLastMinute: number;
    most: number;
    /** In pages. */
    workingSet: number;
  },
): HeldBack {
  const isShare = "sharePerMinute" in limit &&
    most === limit.sharePerMinute * workingSet;
  const [value, top, unit, time] = isShare
    ? [
      inLastMinute / workingSet * 100,
      limit.sharePerMinute * 100,
      " %",
      "minute",
    ]
    : [inLastMinute / 60, most / 60, "", "second"];
  return {
    by: "refaults",
    why: inLastMinute > most
      ? `held back by refaults: ${
        beside(value, top)
      }${unit} a ${time}, at most ${exact(top)}${unit}`
      : `held back by refaults: they were above ${exact(top)}${unit} a ${time}`,
  };
}

/** Some process waits for memory for longer than it may. */
export function describePressure(
  { share = 0, cgroup, most }: PressureReading,
  limit: number,
): HeldBack {
  const whose = cgroup === undefined ? "the machine" : `cgroup ${cgroup}`;
  const source = cgroup !== undefined
    ? ""
    : most
    ? `; group ${most.name} has the most refaults, ${
      most.perSecond.toFixed(0)
    } a second`
    : "; no group has refaults";
  return {
    by: "pressure",
    why: `held back by memory pressure of ${whose}: ${
      beside(share * 100, limit * 100)
    } %, at most ${exact(limit * 100)} %${source}`,
  };
}

/** The group is as small as it may get, or nearly. */
export function describeFloor(size: number, least: number): HeldBack {
  const format = formatBeside(least, size);
  return {
    by: "min_rss",
    why: `held back by min_rss: ${format(size)}, at least ${format(least)}`,
  };
}

/** More is to go than the rate lets go now. */
export function describeRate(
  rate: ByteRate,
  disk: string | null | undefined,
): HeldBack {
  const why = disk === undefined
    ? ""
    : disk === null
    ? ", the default where it is not known whether swap is on a disk"
    : `, the default for swap on a disk (${disk})`;
  return {
    by: "max_pageout_rate",
    why: `held back by max_pageout_rate: ${exactByteRate(rate)}${why}`,
  };
}

/** As much was written to swap as may be. */
export function describeSwapWrites(
  written: number,
  { bytes, per }: ByteRate,
): HeldBack {
  const time = { h: "hour" }[timeUnit(per)] ?? timeUnit(per);
  return {
    by: "max_swap_writes",
    why: `held back by max_swap_writes: ${
      formatSize(written)
    } in the last ${time}, at most ${formatSize(bytes)}`,
  };
}

/** A value above a limit, with as many decimals as it takes to read as more. */
function beside(value: number, limit: number): string {
  for (let decimals = value >= 10 ? 0 : 1; decimals < 6; decimals++) {
    const text = value.toFixed(decimals);
    if (Number(text) > limit) return text;
  }
  return String(value);
}

function exact(value: number): string {
  return String(Number(value.toFixed(3)));
}
