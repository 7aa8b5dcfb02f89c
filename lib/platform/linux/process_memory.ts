/**
 * The memory of one Linux process, as the scanner and `inspect` see it.
 *
 * No descriptor is held between calls: every call finds its process anew, by pid
 * and start time, so any number of processes can be scanned with few descriptors.
 *
 * @module
 */

import { type PageSpan, pageStates } from "../../../ffi/pagemap.ts";
import { memoryInfo } from "../../../ffi/system.ts";
import type { Pagedata } from "../../scanner/pagedata.ts";
import type {
  PageoutControl,
  ProcessMemory,
  ProcessSizes,
  Residency,
} from "../platform.ts";
import { memoryDevices, pageable, type PageableContext } from "./candidates.ts";
import { LinuxPageout, replaced } from "./pageout.ts";
import { readSizes, readSmaps } from "./memory_files.ts";
import type { PagedataPurpose, PagedataSource } from "./pagedata_source.ts";
import { ofProcess, ProcDir, type ProcessId } from "./proc_dir.ts";
import type { LinuxMapping } from "./smaps.ts";

/** The mappings of a process. */
export interface LinuxMappings {
  readonly mappings: readonly LinuxMapping[];
  readonly context: PageableContext;
}

/** The memory of one process. */
export class LinuxProcessMemory implements ProcessMemory {
  readonly #id: ProcessId;
  readonly #source: PagedataSource;
  /** The address space that is observed, or was last read. */
  #layout: string | undefined;
  /** Mappings that can only go to swap, by start, as of the last reading. */
  #needSwap: ReadonlySet<bigint> = new Set();

  constructor(id: ProcessId, source: PagedataSource) {
    this.#id = id;
    this.#source = source;
  }

  get pid(): number {
    return this.#id.pid;
  }

  async readPagedata(): Promise<Pagedata> {
    return await this.read("scan");
  }

  /** Reads pagedata for a purpose. */
  async read(purpose: PagedataPurpose): Promise<Pagedata> {
    using directory = ProcDir.open(this.#id);
    const { layout } = directory.stat();
    if (this.#layout !== undefined && this.#layout !== layout) {
      throw replaced(this.pid);
    }
    this.#layout = layout;
    const context = readContext(directory);
    return await this.#source.read(directory, { purpose, context });
  }

  /** The mappings with all figures, and what a page-out could take of them depends on. */
  async readMappings(): Promise<LinuxMappings> {
    using directory = ProcDir.open(this.#id);
    const mappings = await readSmaps(directory);
    return { mappings, context: readContext(directory) };
  }

  /**
   * Finds out whether the process can be read, before anything is done to it.
   *
   * @throws NoSuchProcess when it has exited.
   * @throws ProcessAccessDenied when this user may not read it.
   */
  checkAccess(): void {
    using directory = ProcDir.open(this.#id);
    using _pagemap = directory.openFile("pagemap");
  }

  /** Resets the bits without reading them: an observation starts. */
  async reset(purpose: PagedataPurpose): Promise<void> {
    using directory = ProcDir.open(this.#id);
    this.#layout = directory.stat().layout;
    await this.#source.reset(directory, purpose);
  }

  /** Has the processors note again what is in use, shortly before a scan. */
  async refresh(): Promise<void> {
    using directory = ProcDir.open(this.#id);
    await this.#source.refresh(directory);
  }

  closePagedata(): void {
    // Nothing stays open.
  }

  async readResidency(): Promise<ReadonlyMap<bigint, Residency>> {
    const { mappings, context } = await this.readMappings();
    const withoutSwap = { ...context, swapFree: false };
    const residency = new Map<bigint, Residency>();
    const needSwap = new Set<bigint>();
    for (const mapping of mappings) {
      const { start, end, pageSize } = mapping;
      const { bytes, reason } = pageable(mapping, context);
      residency.set(start, {
        start,
        bytes: Number(end - start),
        pageable: Math.ceil(bytes / pageSize),
        reason,
      });
      if (pageable(mapping, withoutSwap).bytes === 0) needSwap.add(start);
    }
    this.#needSwap = needSwap;
    return residency;
  }

  readSizes(): ProcessSizes {
    using directory = ProcDir.open(this.#id);
    return readSizes(directory);
  }

  /**
   * Proportional set size: every page counts divided by the number of processes
   * that map it. In bytes. Costs a walk of the page tables.
   */
  readProportional(): number {
    using directory = ProcDir.open(this.#id);
    const kilobytes = /^Pss: *(\d+) kB$/m.exec(
      directory.readText("smaps_rollup"),
    )?.[1];
    return Number(kilobytes ?? 0) * 1024;
  }

  /** The state of every page of a range, a byte a page: `PAGE_*` of ffi/pagemap.ts. */
  readPageStates(span: PageSpan): Uint8Array<ArrayBuffer> {
    using directory = ProcDir.open(this.#id);
    using pagemap = directory.openFile("pagemap");
    return ofProcess(this.pid, () => pageStates(pagemap, span));
  }

  async control(): Promise<PageoutControl> {
    return await LinuxPageout.open(this.#id, {
      layout: this.#layout,
      needsSwap: (mappingStart) => this.#needSwap.has(mappingStart),
    });
  }
}

function readContext(directory: ProcDir): PageableContext {
  return {
    swapFree: memoryInfo().freeSwap > 0,
    memoryDevices: memoryDevices(directory.readText("mountinfo")),
  };
}
