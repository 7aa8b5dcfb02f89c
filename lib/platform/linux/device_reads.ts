/**
 * How long block devices take for reads that others ask them for, as the kernel counts
 * it: Documentation/block/stat.rst.
 *
 * @module
 */

import { readDirectory, readTextFileIfAny } from "../../../ffi/file.ts";
import { isSysMounted } from "./sysfs.ts";

/** Where the kernel shows block devices, each with its partitions. */
const DEVICES = "/sys/block";
/** How many devices are looked at. */
const MOST_DEVICES = 256;
/** How many reads there must have been for an average. */
const LEAST_READS = 64;

/** The reads of a device since it is there. */
export interface Reads {
  readonly count: number;
  /** How long they took in all, in milliseconds, in the queue and in the device. */
  readonly milliseconds: number;
}

/** Parses a `stat` of a device; `undefined` if it is not one. */
export function parseReads(stat: string): Reads | undefined {
  const [, count, milliseconds] =
    /^\s*(\d{1,15})\s+\d+\s+\d+\s+(\d{1,15})\s/.exec(stat) ?? [];
  if (milliseconds === undefined) return undefined;
  return { count: Number(count), milliseconds: Number(milliseconds) };
}

/** The time of a read, on average. */
export interface ReadTime {
  readonly device: string;
  readonly nanoseconds: number;
}

/** Finds the devices in use. */
export class DeviceReads {
  #before: ReadonlyMap<string, Reads> | undefined;
  readonly #read: () => ReadonlyMap<string, Reads>;

  /** @param read reads the counts by device. */
  constructor(read: () => ReadonlyMap<string, Reads> = readDevices) {
    this.#read = read;
  }

  /** Returns the devices that have been read from much since the last call, the first of all excepted. */
  sinceLast(): ReadTime[] {
    const before = this.#before;
    const now = this.#before = this.#read();
    if (!before) return [];
    return [...now].flatMap(([device, reads]) => {
      const then = before.get(device) ?? { count: 0, milliseconds: 0 };
      const count = reads.count - then.count;
      const milliseconds = reads.milliseconds - then.milliseconds;
      // Memory that looks like a device takes no time that is counted.
      if (count < LEAST_READS || milliseconds <= 0) return [];
      return [{ device, nanoseconds: Math.round(milliseconds * 1e6 / count) }];
    });
  }
}

function readDevices(): Map<string, Reads> {
  if (!isSysMounted()) return new Map();
  const reads = new Map<string, Reads>();
  for (const device of readDirectory(DEVICES).slice(0, MOST_DEVICES)) {
    const stat = readTextFileIfAny(`${DEVICES}/${device}/stat`);
    const found = stat === undefined ? undefined : parseReads(stat);
    if (found) reads.set(device, found);
  }
  return reads;
}

/** Whether a block device is another one, or has it as a partition. */
export function holdsDevice(device: string, other: string): boolean {
  return device === other ||
    readTextFileIfAny(`${DEVICES}/${device}/${other}/partition`) !== undefined;
}
