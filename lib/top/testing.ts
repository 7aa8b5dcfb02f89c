/**
 * Figures for tests of rows and of what is shown.
 *
 * @module
 */

import type { Figures, ProcessFigures } from "./figures.ts";

export const MIB = 2 ** 20;

/** A process of 100 MiB that has been observed for two minutes. */
export function processFigures(
  pid: number,
  rest: Partial<ProcessFigures> & { idleMinute?: number } = {},
): ProcessFigures {
  const { idleMinute = 0, ...own } = rest;
  return {
    pid,
    startTime: 1,
    ppid: 1,
    comm: `p${pid}`,
    group: "",
    cap: undefined,
    rss: 100 * MIB,
    swap: 0,
    refaults: 0,
    ages: {
      seconds: 120,
      recorded: 80 * MIB,
      idle: [idleMinute, idleMinute, 0, 0],
      unjudged: 0,
      cost: 0.001,
    },
    error: undefined,
    ...own,
  };
}

/** Figures of some processes. */
export function figuresOf(
  processes: readonly ProcessFigures[],
  rest: Partial<Figures> = {},
): Figures {
  return {
    machine: {
      total: 8192 * MIB,
      available: 4096 * MIB,
      totalSwap: 1024 * MIB,
      freeSwap: 512 * MIB,
      memoryOfSwap: 0.25,
      pressure: 0.0123,
    },
    processes,
    caps: [],
    seconds: 120,
    notices: [],
    ...rest,
  };
}
