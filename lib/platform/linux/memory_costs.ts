/**
 * What it costs a process on this machine to be observed and paged out.
 *
 * @module
 */

import { File, readTextFile } from "../../../ffi/file.ts";
import { RcapError } from "../../errors.ts";
import type { MemoryCosts, PageInCost } from "../platform.ts";
import type { MemoryCalls } from "./memory_calls.ts";
import { DeviceReads, holdsDevice } from "./device_reads.ts";
import { parseMountinfo } from "./mountinfo.ts";
import {
  measureFilePageIn,
  measureSwapIn,
  SWAP_NEEDED,
} from "./page_in_cost.ts";
import type { PagedataSource } from "./pagedata_source.ts";
import { measureReference } from "./reference_cost.ts";
import { firstSwaps, hasZswap, swaps } from "./swaps.ts";

/** rcap's own program: a large file of which most is not in use. */
const OWN_PROGRAM = "/proc/self/exe";

/** Measures costs, each once. */
export class CostMeter {
  readonly #source: PagedataSource;
  readonly #calls: MemoryCalls;
  readonly #signal: AbortSignal | undefined;
  #reference: number | undefined;
  readonly #pageIns: PageInCost[] = [];
  readonly #devices = new DeviceReads();
  /** What has been tried, whether or not it could be measured. */
  readonly #tried = new Set<string>();
  /** The measurement in progress: only one at a time, or they would measure each other. */
  #last: Promise<void> = Promise.resolve();

  /** @param signal ends measurements. */
  constructor(
    source: PagedataSource,
    calls: MemoryCalls,
    signal?: AbortSignal,
  ) {
    this.#source = source;
    this.#calls = calls;
    this.#signal = signal;
  }

  /** What a reference costs, in nanoseconds; `undefined` until it was measured. */
  get reference(): number | undefined {
    return this.#reference;
  }

  /**
   * Measures what has not been measured yet.
   *
   * @returns `undefined` if the cost of a reference cannot be measured.
   */
  async measure(
    { ofPageIns }: { ofPageIns: boolean },
  ): Promise<MemoryCosts | undefined> {
    const done = this.#last.then(() => this.#measure(ofPageIns));
    this.#last = done.catch(() => {});
    await done;
    const reference = this.#reference;
    return reference === undefined
      ? undefined
      : { reference, pageIns: [...this.#pageIns] };
  }

  async #measure(ofPageIns: boolean): Promise<void> {
    await this.#once("references", async () => {
      const cost = await measureReference(
        this.#source,
        this.#calls,
        this.#signal,
      );
      this.#reference = Math.round(cost);
    });
    if (!ofPageIns) return;
    const swap = nameOfFirstSwapIfKnown();
    if (swap !== undefined) {
      await this.#once(
        `swap ${swap}`,
        async () => this.#add(await measureSwap(swap, this.#signal)),
      );
    }
    await this.#once(
      "files",
      async () => this.#add(await measureFiles(this.#signal)),
    );
    await this.#tolerate(() => this.#addDevices());
  }

  /** Adds the devices that are in use and were not measured. */
  #addDevices(): void {
    for (const { device, nanoseconds } of this.#devices.sinceLast()) {
      const isKnown = this.#pageIns.some((known) =>
        holdsDevice(device, known.device)
      );
      if (!isKnown) this.#add({ from: "reads", device, nanoseconds });
    }
  }

  #add(cost: PageInCost | undefined): void {
    if (cost) this.#pageIns.push(cost);
  }

  /** Takes a step once, whether or not it works. */
  async #once(what: string, step: () => Promise<void>): Promise<void> {
    if (this.#tried.has(what)) return;
    this.#tried.add(what);
    await this.#tolerate(step);
  }

  async #tolerate(step: () => void | Promise<void>): Promise<void> {
    if (this.#signal?.aborted) return;
    try {
      await step();
    } catch (error) {
      if (this.#signal?.aborted) return;
      // It cannot be measured here, as where a sandbox refuses a call.
      if (!(error instanceof RcapError)) throw error;
    }
  }
}

/**
 * Measures what a page-in from the swap that is used first takes.
 *
 * @param device its name, by {@linkcode nameOfFirstSwap}.
 * @param signal ends the measurement.
 * @returns `undefined` if too few pages went out, or perhaps elsewhere.
 * @throws RcapError if it cannot be measured.
 */
export async function measureSwap(
  device: string,
  signal?: AbortSignal,
): Promise<PageInCost | undefined> {
  const nanoseconds = await measureSwapIn(signal);
  if (nanoseconds === undefined || nameOfFirstSwap() !== device) {
    return undefined;
  }
  return { from: "swap", device, nanoseconds: Math.round(nanoseconds) };
}

/**
 * Measures what a page-in of a file takes, on rcap's own program.
 *
 * @param signal ends the measurement.
 * @returns `undefined` if too much of it is in use, or in memory for good.
 * @throws RcapError if it cannot be measured.
 */
export async function measureFiles(
  signal?: AbortSignal,
): Promise<PageInCost | undefined> {
  const found = await measureFilePageIn(OWN_PROGRAM, signal);
  return found && {
    from: "file",
    device: nameOfDevice(found.device),
    nanoseconds: Math.round(found.nanoseconds),
  };
}

/**
 * Returns the name of the swap that is used first, like `zram0`; `undefined` if there is
 * none. Several of the same priority are used in turns.
 *
 * @throws RcapError if `/proc/swaps` cannot be read.
 */
export function nameOfFirstSwap(): string | undefined {
  const first = firstSwaps(swaps(), SWAP_NEEDED);
  if (first.length === 0) return undefined;
  const name = first.map(({ path }) => path.replace(/^\/dev\//, "")).join(", ");
  return hasZswap() ? `zswap (${name})` : name;
}

/** {@linkcode nameOfFirstSwap}; `undefined` if that cannot be found out, too. */
function nameOfFirstSwapIfKnown(): string | undefined {
  try {
    return nameOfFirstSwap();
  } catch (error) {
    if (!(error instanceof RcapError)) throw error;
    return undefined;
  }
}

/**
 * Returns the name of the block device with a number, `MAJOR:MINOR`; for a file system
 * without one, such as an overlay, its type.
 */
function nameOfDevice(number: string): string {
  try {
    using devices = File.openPlace("/sys/dev/block");
    const [name] = devices.readLinkAt(number).split("/").slice(-1);
    return name;
  } catch (error) {
    if (!(error instanceof RcapError)) throw error;
  }
  const [major, minor] = number.split(":").map(BigInt);
  const mounts = parseMountinfo(readTextFile("/proc/self/mountinfo"));
  const mount = mounts.find(({ device }) => device === (major << 32n | minor));
  return mount?.type ?? number;
}
