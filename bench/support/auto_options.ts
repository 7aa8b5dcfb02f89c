/**
 * What `bench:auto` measures, on the machine and in a virtual one.
 *
 * @module
 */

import type { WorkloadSizes } from "./workloads.ts";

/** What to measure. Times in seconds as rcap and the workloads see them. */
export interface AutoOptions {
  /** Of {@linkcode AUTO_WORKLOADS}. */
  readonly workloads: readonly string[];
  /** How much faster all times pass than those of the machine. */
  readonly faster: number;
  /** Of each workload, in bytes. */
  readonly size: number;
  /** How long before measuring, and how long that takes. */
  readonly settle: number;
  readonly measure: number;
}

/**
 * The names of the workloads. The last three were not used while the constants of
 * `idle = "auto"` were chosen.
 */
export const AUTO_WORKLOADS: readonly string[] = [
  "hotcold",
  "drift",
  "fleet",
  "skewed",
  "redis",
  "backup",
];

/** For how long each process of `fleet` is awake, in seconds. */
const AWAKE = 20;
/** How often the hot part of `drift` moves, in seconds. */
const MOVE = 200;
const FLEET = 8;
const REDIS_VALUE = 512;
/** What a key with such a value takes, about. */
const REDIS_KEY = 640;

/** The parameters of the workloads. */
export function workloadSizes({ size, faster }: AutoOptions) {
  return {
    size,
    exponent: 0.99,
    redisKeys: Math.floor(size / REDIS_KEY),
    redisValue: REDIS_VALUE,
    fleet: FLEET,
    fleetSize: Math.floor(size / FLEET),
    awake: Math.round(AWAKE * 1000 / faster),
    move: Math.round(MOVE * 1000 / faster),
    hurry: faster,
  } satisfies WorkloadSizes;
}
