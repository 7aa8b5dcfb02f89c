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
import type { MemoryCalls } from "./memory_calls.ts";
import { MemoryFiles, readSizes } from "./memory_files.ts";
import { LinuxPageout, replaced } from "./pageout.ts";
import type { PagedataSource } from "./pagedata_source.ts";
import { ofProcessSlowly, ProcDir } from "./proc_dir.ts";
import type { LinuxMapping } from "./smaps.ts";

/** What the memory of processes is reached with. */
export interface MemoryAccess {
  readonly source: PagedataSource;
  readonly calls: MemoryCalls;
  /** Shares a limit on calls that are stuck. */
  readonly group?: string;
}

/** The memory of one process. */
export class LinuxProcessMemory implements MonitoredMemory {
  readonly knowsProportional = true;
  readonly #id: ProcessId;
  readonly #access: MemoryAccess;
  /** The address space that is observed, or was last read. */
  #layout: string | undefined;
  /** Mappings that can only go to swap, by start, as of the last reading. */
  #needSwap: ReadonlySet<bigint> = new Set();

  constructor(id: ProcessId, access: MemoryAccess) {
    this.#id = id;
    this.#access = access;
  }

  get pid(): number {
    return this.#id.pid;
  }

  get silence(): string | undefined {
    return this.#access.calls.silenceOf(this.#id);
  }

  async readPagedata(): Promise<Pagedata> {
    return await this.read("scan");
  }

  async read(purpose: PagedataPurpose): Promise<Pagedata> {
    return await this.#withFiles(async (files) => {
      const { directory } = files;
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
      return await this.#access.source.read(files, { purpose, context });
    });
  }

  hasRun(): boolean {
    return this.#access.source.hasRun(this.pid);
  }

  async readMappings(): Promise<MappingFigures[]> {
    const { mappings, context } = await this.#readSmaps();
    return mappings.map((mapping) => figuresOf(mapping, context));
  }

  /** The mappings, and what it depends on what a page-out could take of them. */
  async #readSmaps() {
    return await this.#withFiles(async (files) => {
      const mappings = await files.readSmaps();
      const context: PageableContext = {
        swapFree: memoryInfo().freeSwap > 0,
        memoryDevices: readDevices(files.directory),
      };
      return { mappings, context };
    });
  }

  async checkAccess(): Promise<void> {
    await this.#withFiles(async (files) => {
      using _pagemap = await files.openPagemap();
    });
  }

  async reset(): Promise<void> {
    await this.#withFiles(async (files) => {
      this.#layout = files.directory.opened.layout;
      await this.#access.source.reset(files);
    });
  }

  async refresh(): Promise<void> {
    await this.#withFiles((files) => this.#access.source.refresh(files));
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
    try {
      return await this.#withFiles((files) => files.readProportional());
    } catch (error) {
      if (!(error instanceof ProcessAccessDenied)) throw error;
      return this.readSizes().rss;
    }
  }

  async readPageStates(span: PageSpan): Promise<Uint8Array<ArrayBuffer>> {
    return await this.#withFiles(async (files) => {
      using pagemap = await files.openPagemap();
      return await ofProcessSlowly(
        this.pid,
        () => pageStates({ pagemap, make: (calls) => files.make(calls) }, span),
      );
    });
  }

  async control(): Promise<PageoutControl> {
    const { calls, group } = this.#access;
    return await LinuxPageout.open(this.#id, {
      calls,
      group,
      layout: this.#layout,
      needsSwap: (mappingStart) => this.#needSwap.has(mappingStart),
    });
  }

  /** Does something with the memory files of the process. */
  async #withFiles<T>(step: (files: MemoryFiles) => Promise<T>): Promise<T> {
    const { calls, group } = this.#access;
    return await calls.patiently(this.#id, async (attempt) => {
      using directory = ProcDir.open(this.#id);
      return await step(new MemoryFiles(directory, attempt));
    }, group);
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
