/**
 * The memory of one Linux process, as the scanner and `inspect` see it.
 *
 * No descriptor is held between calls: every call finds its process anew, by pid
 * and start time, so any number of processes can be scanned with few descriptors.
 *
 * @module
 */

import { pageStates } from "../../../ffi/pagemap.ts";
import { memoryInfo } from "../../../ffi/system.ts";
import { ProcessAccessDenied } from "../../errors.ts";
import type { Pagedata } from "../../scanner/pagedata.ts";
import type { PageSpan } from "../page_states.ts";
import type {
  MappingFigures,
  MonitoredMemory,
  PagedataPurpose,
  PageoutControl,
  ProcessId,
  ProcessSizes,
  Residency,
} from "../platform.ts";
import { memoryDevices, pageable, type PageableContext } from "./candidates.ts";
import { LinuxPageout, replaced } from "./pageout.ts";
import { readProportional, readSizes, readSmaps } from "./memory_files.ts";
import type { PagedataSource } from "./pagedata_source.ts";
import { ofProcess, ProcDir } from "./proc_dir.ts";
import type { LinuxMapping } from "./smaps.ts";

/** The memory of one process. */
export class LinuxProcessMemory implements MonitoredMemory {
  readonly knowsProportional = true;
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

  async read(purpose: PagedataPurpose): Promise<Pagedata> {
    using directory = ProcDir.open(this.#id);
    const { layout } = directory.opened;
    if (this.#layout !== undefined && this.#layout !== layout) {
      throw replaced(this.pid);
    }
    this.#layout = layout;
    const swapFree = memoryInfo().freeSwap > 0;
    const context = {
      swapFree,
      // Where files are makes a difference only where nothing else can go.
      memoryDevices: swapFree ? NO_DEVICES : readDevices(directory),
    };
    return await this.#source.read(directory, { purpose, context });
  }

  hasRun(): boolean {
    return this.#source.hasRun(this.pid);
  }

  async readMappings(): Promise<MappingFigures[]> {
    const { mappings, context } = await this.#readSmaps();
    return mappings.map((mapping) => figuresOf(mapping, context));
  }

  /** The mappings, and what it depends on what a page-out could take of them. */
  async #readSmaps() {
    using directory = ProcDir.open(this.#id);
    const mappings = await readSmaps(directory);
    const context: PageableContext = {
      swapFree: memoryInfo().freeSwap > 0,
      memoryDevices: readDevices(directory),
    };
    return { mappings, context };
  }

  checkAccess(): void {
    using directory = ProcDir.open(this.#id);
    using _pagemap = directory.openFile("pagemap");
  }

  async reset(): Promise<void> {
    using directory = ProcDir.open(this.#id);
    this.#layout = directory.opened.layout;
    await this.#source.reset(directory);
  }

  async refresh(): Promise<void> {
    using directory = ProcDir.open(this.#id);
    await this.#source.refresh(directory);
  }

  closePagedata(): void {
    // Nothing stays open.
  }

  async readResidency(): Promise<ReadonlyMap<bigint, Residency>> {
    const { mappings, context } = await this.#readSmaps();
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

  async readProportional(): Promise<number> {
    using directory = ProcDir.open(this.#id);
    try {
      return await readProportional(directory);
    } catch (error) {
      if (!(error instanceof ProcessAccessDenied)) throw error;
      return readSizes(directory).rss;
    }
  }

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

const NO_DEVICES: ReadonlySet<string> = new Set();

function readDevices(directory: ProcDir): ReadonlySet<string> {
  return memoryDevices(directory.readText("mountinfo"));
}

/** What smaps tells of a mapping. What is both referenced and dirty may be modified. */
function figuresOf(
  mapping: LinuxMapping,
  context: PageableContext,
): MappingFigures {
  const { start, end, perm, name, pageSize, rss, anonymous } = mapping;
  const { swap, locked, referenced, dirty } = mapping;
  return {
    start,
    end,
    perm,
    name,
    pageSize,
    rss,
    anonymous,
    swapped: swap,
    locked,
    referenced,
    modified: Math.min(referenced, dirty),
    reason: pageable(mapping, context).reason,
  };
}
