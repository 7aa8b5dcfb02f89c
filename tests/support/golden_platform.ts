/**
 * The fake platform of the golden cases: answers the scanner from a case's
 * description of every process, scan by scan. `vectors/README.md` describes the
 * format.
 *
 * @module
 */

import { ProcessError } from "../../lib/errors.ts";
import { type Pagedata, PagedataBuilder } from "../../lib/memory/pagedata.ts";
import type {
  PageoutControl,
  PageoutResult,
  PageRange,
  ProcessMemory,
  ProcessSizes,
  Residency,
} from "../../lib/memory/process_memory.ts";
import { xmapResidency } from "../../lib/platform/illumos/xmap_residency.ts";

export interface GoldenFile {
  format: 1;
  cases: GoldenCase[];
}

export interface GoldenCase {
  seed: number;
  processes: { pid: number; imageKb: number }[];
  scans: GoldenScan[];
}

export interface GoldenScan {
  excessKb: number;
  processes: GoldenProcess[];
  expected: GoldenExpected;
}

export interface GoldenProcess {
  pid: number;
  exited: boolean;
  pagedataUnreadable: boolean;
  psinfoUnreadable: boolean;
  grabFails: boolean;
  agentFails: boolean;
  xmapUnreadable: boolean;
  mappings: GoldenMapping[];
}

export interface GoldenMapping {
  vaddr: string;
  pages: number;
  pageSize: number;
  flags: number;
  referencedModified: string;
  resident: string;
  pageable: string;
  anonPages: number;
  xmap: "ok" | "absent" | "mismatch";
  errno: number;
}

export interface GoldenExpected {
  pageouts: [pid: number, start: string, end: string, errno: number][];
  victim: number;
  resumeAddress: string | null;
  attemptedKb: number;
  effectiveKb: number;
  scanCount: number;
  ineffective: number;
  processes: {
    pid: number;
    unscannable: boolean;
    unreferencedKb: number;
    ignored: [address: string, bytes: number][];
    bits: [address: string, digits: string][] | null;
  }[];
}

/** No backing store or locked pages, which is not a failure of the process. */
const EBUSY = 16;

/** One process of a case. It needs the current scan's description before every scan. */
export class GoldenMemory implements ProcessMemory {
  readonly pid: number;
  readonly #image: number;
  readonly #pageouts: GoldenExpected["pageouts"];
  #scan!: GoldenProcess;
  #resident: boolean[][] = [];

  /** @param pageouts collects the page-outs in call order. */
  constructor(
    { pid, imageKb }: { pid: number; imageKb: number },
    pageouts: GoldenExpected["pageouts"],
  ) {
    this.pid = pid;
    this.#image = imageKb * 1024;
    this.#pageouts = pageouts;
  }

  /** Sets the description of the next scan. */
  begin(scan: GoldenProcess): void {
    this.#scan = scan;
    this.#resident = scan.mappings.map((mapping) =>
      [...mapping.resident].map((digit) => digit === "1")
    );
  }

  /** The case's description of the current scan. */
  protected get scan(): GoldenProcess {
    return this.#scan;
  }

  /** Number of pages of a mapping that are in memory. */
  protected residentOf(index: number): number {
    return this.#resident[index].filter(Boolean).length;
  }

  readPagedata(): Promise<Pagedata> {
    if (this.#scan.exited || this.#scan.pagedataUnreadable) {
      return Promise.reject(new ProcessError(this.pid, "pagedata unreadable"));
    }
    const builder = new PagedataBuilder();
    for (const mapping of this.#scan.mappings) {
      const { vaddr, pages, pageSize, flags, referencedModified } = mapping;
      builder.addMapping({ start: address(vaddr), pages, pageSize, flags });
      builder.addBits(0, Uint8Array.from(referencedModified, Number));
    }
    return Promise.resolve(builder.build());
  }

  closePagedata(): void {}

  readResidency(): Promise<ReadonlyMap<bigint, Residency> | undefined> {
    if (this.#scan.exited || this.#scan.xmapUnreadable) {
      return Promise.resolve(undefined);
    }
    const residency = new Map<bigint, Residency>();
    for (const [index, mapping] of this.#scan.mappings.entries()) {
      if (mapping.xmap === "absent") continue;
      const { pages, pageSize, flags, anonPages, xmap } = mapping;
      const start = address(mapping.vaddr);
      const resident = this.residentOf(index);
      const listed = xmap === "mismatch" ? pages + 1 : pages;
      const anonymous = Math.min(anonPages, resident);
      residency.set(
        start,
        xmapResidency({
          start,
          bytes: listed * pageSize,
          flags,
          resident,
          anonymous,
        }),
      );
    }
    return Promise.resolve(residency);
  }

  readSizes(): ProcessSizes {
    if (this.#scan.exited || this.#scan.psinfoUnreadable) {
      throw new ProcessError(this.pid, "psinfo unreadable");
    }
    let rss = 0;
    for (const [index, { pageSize }] of this.#scan.mappings.entries()) {
      rss += this.residentOf(index) * pageSize;
    }
    return { rss, image: this.#image };
  }

  control(): Promise<PageoutControl> {
    const { exited, grabFails, agentFails } = this.#scan;
    if (exited || grabFails || agentFails) {
      return Promise.reject(new ProcessError(this.pid, "cannot be controlled"));
    }
    return Promise.resolve({
      maxRanges: 1,
      pageOut: (ranges: readonly PageRange[]) =>
        Promise.resolve(ranges.map((range) => this.#pageOut(range))),
      [Symbol.dispose]() {},
    });
  }

  #pageOut({ start, end }: PageRange): PageoutResult {
    const mappings = this.#scan.mappings;
    // A page-out of a range that starts in no mapping of this scan succeeds.
    const { errno = 0 } = mappings.find(({ vaddr, pages, pageSize }) => {
      const first = address(vaddr);
      return first <= start && start < first + BigInt(pages * pageSize);
    }) ?? {};
    this.#pageouts.push([this.pid, hex(start), hex(end), errno]);
    if (errno === EBUSY) return { result: "busy" };
    if (errno !== 0) return { result: "failed" };
    for (const [index, { vaddr, pageSize, pageable }] of mappings.entries()) {
      const resident = this.#resident[index];
      for (let page = 0; page < resident.length; page++) {
        const at = address(vaddr) + BigInt(page * pageSize);
        if (
          pageable[page] === "1" && start <= at && at + BigInt(pageSize) <= end
        ) {
          resident[page] = false;
        }
      }
    }
    return { result: "done" };
  }
}

/** Parses an address of the golden files. */
export function address(text: string): bigint {
  return BigInt(`0x${text}`);
}

/** Formats an address as in the golden files. */
export function hex(value: bigint): string {
  return value.toString(16);
}
