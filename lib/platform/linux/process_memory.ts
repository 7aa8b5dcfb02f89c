/**
 * The memory of one Linux process, as the scanner and `inspect` see it.
 *
 * No descriptor is held between calls: every call finds its process anew, by pid
 * and start time, so any number of processes can be scanned with few descriptors.
 *
 * @module
 */

import { NoSuchProcess } from "../../errors.ts";
import { O_WRONLY } from "../../../ffi/file.ts";
import { type PageSpan, pageStates } from "../../../ffi/pagemap.ts";
import { memoryInfo, pageSize } from "../../../ffi/system.ts";
import type { Pagedata } from "../../scanner/pagedata.ts";
import type {
  PageoutControl,
  ProcessMemory,
  ProcessSizes,
  Residency,
} from "../platform.ts";
import { memoryDevices, pageable, type PageableContext } from "./candidates.ts";
import { LinuxPageout } from "./pageout.ts";
import {
  ofProcess,
  ofProcessSlowly,
  ProcDir,
  type ProcessId,
} from "./proc_dir.ts";
import { type LinuxMapping, parseSmaps } from "./smaps.ts";
import { pagedataOfSmaps } from "./smaps_source.ts";

/** From this resident size on, reads of smaps and writes to clear_refs are made on another thread. */
const LARGE_PROCESS = 4 * 2 ** 30;

/** One reading of a process. */
export interface LinuxReading {
  readonly mappings: readonly LinuxMapping[];
  readonly pagedata: Pagedata;
  /** What is pageable depends on it. */
  readonly context: PageableContext;
}

/** The memory of one process. */
export class LinuxProcessMemory implements ProcessMemory {
  readonly #id: ProcessId;
  /** The address space that pagedata was last read from. */
  #layout: string | undefined;
  /** Mappings that can only go to swap, by start, as of the last reading. */
  #needSwap: ReadonlySet<bigint> = new Set();

  constructor(id: ProcessId) {
    this.#id = id;
  }

  get pid(): number {
    return this.#id.pid;
  }

  async readPagedata(): Promise<Pagedata> {
    return (await this.read({ clear: true })).pagedata;
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

  /** Resets the reference bits without reading them: an observation starts. */
  async clearReferences(): Promise<void> {
    using directory = ProcDir.open(this.#id);
    await clearReferences(directory);
  }

  closePagedata(): void {
    // Nothing stays open.
  }

  /**
   * Reads mappings and pagedata.
   *
   * @param clear whether to reset the reference bits.
   */
  async read({ clear }: { clear: boolean }): Promise<LinuxReading> {
    using directory = ProcDir.open(this.#id);
    // Opened first, so that it is of the address space the layout speaks of.
    using pagemap = directory.openFile("pagemap");
    this.#layout = directory.stat().layout;
    const mappings = await readMappings(directory);
    if (clear) await clearReferences(directory);
    const context = readContext(directory);
    const pagedata = ofProcess(
      this.pid,
      () => pagedataOfSmaps(mappings, pagemap, context),
    );
    return { mappings, pagedata, context };
  }

  async readResidency(): Promise<ReadonlyMap<bigint, Residency>> {
    using directory = ProcDir.open(this.#id);
    const mappings = await readMappings(directory);
    const context = readContext(directory);
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

/** Reads the mappings with all figures. */
async function readMappings(directory: ProcDir): Promise<LinuxMapping[]> {
  const { pid } = directory;
  const isLarge = readSizes(directory).rss >= LARGE_PROCESS;
  using smaps = directory.openFile("smaps");
  const text = await ofProcessSlowly(pid, () => smaps.readAllSlowly(isLarge));
  // An address space that is gone has no mappings.
  if (text.length === 0) {
    throw new NoSuchProcess(pid, `process ${pid} has exited`);
  }
  return parseSmaps(text);
}

/** Resets the reference bits: clear_refs of proc(5), value 1. */
async function clearReferences(directory: ProcDir): Promise<void> {
  using clearRefs = directory.openFile("clear_refs", O_WRONLY);
  await ofProcessSlowly(directory.pid, () => clearRefs.writeSlowly("1"));
}

/** Reads RSS and image size: proc_pid_statm(5), fields 2 and 1, in pages. */
function readSizes(directory: ProcDir): ProcessSizes {
  const [image, rss] = directory.readText("statm").split(" ").map(Number);
  return { rss: rss * pageSize(), image: image * pageSize() };
}

function readContext(directory: ProcDir): PageableContext {
  return {
    swapFree: memoryInfo().freeSwap > 0,
    memoryDevices: memoryDevices(directory.readText("mountinfo")),
  };
}
