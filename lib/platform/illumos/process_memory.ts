/**
 * The memory of one illumos process, as the scanner and the commands see it.
 *
 * @module
 */

import {
  MA_BREAK,
  MA_ISM,
  MA_SHM,
  MA_STACK,
  PG_HWMAPPED,
} from "../../../ffi/illumos_structs.ts";
import type { Libproc } from "../../../ffi/libproc.ts";
import { ProcessError } from "../../errors.ts";
import {
  MA_EXEC,
  MA_READ,
  MA_SHARED,
  MA_WRITE,
  SCHEDCTL_FLAGS,
} from "../../memory/mapping_flags.ts";
import {
  PAGE_ABSENT,
  PAGE_PRESENT,
  type PageSpan,
} from "../../memory/page_states.ts";
import {
  bitsOfPages,
  mappingEnd,
  MODIFIED,
  type Pagedata,
  REFERENCED,
} from "../../memory/pagedata.ts";
import type {
  PageoutControl,
  ProcessSizes,
  Residency,
  SkipReason,
} from "../../memory/process_memory.ts";
import {
  type Footprint,
  type MappingFigures,
  type MonitoredMemory,
  type PagedataPurpose,
  type ProcessId,
  type ReadCost,
  unshared,
} from "../platform.ts";
import { replaced } from "../process_errors.ts";
import { Readability } from "../readability.ts";
import { IllumosPageout } from "./pageout.ts";
import { type ProcAccess, ProcessFiles } from "./process_files.ts";
import type { XmapEntry } from "./xmap_file.ts";
import { xmapResidency } from "./xmap_residency.ts";

/** How processes are accessed and controlled. */
export interface IllumosAccess extends ProcAccess {
  readonly libproc: Libproc;
}

/** The memory of one process. */
export class IllumosProcessMemory implements MonitoredMemory {
  readonly knowsProportional = false;
  /** On this system, the time that the reads took: a read waits only for the address space. */
  readonly readCost: ReadCost = { pages: 0, seconds: 0 };
  readonly #id: ProcessId;
  readonly #access: IllumosAccess;
  readonly #files: ProcessFiles;
  readonly #readability = new Readability();
  /** The layout of the address space that is observed, or was last read. */
  #layout: string | undefined;
  /** Pagedata as last read with the bits that show which pages the hardware maps. */
  #mapped: Pagedata | undefined;

  constructor(id: ProcessId, access: IllumosAccess) {
    this.#id = id;
    this.#access = access;
    this.#files = new ProcessFiles(id, access);
  }

  get pid(): number {
    return this.#id.pid;
  }

  get unreadable(): string | undefined {
    return this.#readability.failure;
  }

  readPagedata(): Promise<Pagedata> {
    return this.#readability.note(async () => {
      this.#checkLayout();
      const began = performance.now();
      const pagedata = await this.#files.readPagedata();
      this.readCost.pages += pagedata.bits.length;
      this.readCost.seconds += (performance.now() - began) / 1000;
      return pagedata;
    });
  }

  /**
   * Reads pagedata. For every purpose, the system resets the bits that are read: the
   * result has to be merged with that of the next read.
   */
  async read(purpose: PagedataPurpose): Promise<Pagedata> {
    if (purpose !== "inspect") return await this.readPagedata();
    this.#checkLayout();
    const bits = REFERENCED | MODIFIED | PG_HWMAPPED;
    const pagedata = await this.#files.readPagedata(bits);
    this.#mapped = { ...pagedata, bits: pagedata.bits.slice() };
    for (let at = 0; at < pagedata.bits.length; at++) {
      pagedata.bits[at] &= REFERENCED | MODIFIED;
    }
    return pagedata;
  }

  hasRun(): boolean {
    return true;
  }

  closePagedata(): void {
    this.#files.closePagedata();
  }

  async readResidency(): Promise<ReadonlyMap<bigint, Residency> | undefined> {
    const entries = await this.#files.readXmap();
    return new Map(
      entries.map((entry) => [
        entry.start,
        { ...xmapResidency(entry), reason: reasonOf(entry) },
      ]),
    );
  }

  readSizes(): ProcessSizes {
    const { rss, image } = this.#files.readPsinfo();
    return { rss, image };
  }

  // An error becomes a rejection.
  // deno-lint-ignore require-await -- see above
  async checkAccess(): Promise<void> {
    this.#files.openPagedata();
  }

  reset(): Promise<void> {
    return this.#readability.note(async () => {
      this.#layout = this.#files.readPsinfo().layout;
      await this.#files.readPagedata();
    });
  }

  refresh(): Promise<void> {
    // The system itself makes processors mark pages again after a reset.
    return Promise.resolve();
  }

  readFootprint(): Promise<Footprint> {
    return Promise.resolve(unshared(this.readSizes()));
  }

  async readMappings(): Promise<MappingFigures[]> {
    const entries = await this.#files.readXmap();
    const names = new Map<string, string>();
    return entries.map((entry) => {
      const { start, bytes, flags, pageSize } = entry;
      const rss = entry.resident * pageSize;
      const pageable = xmapResidency(entry).pageable * pageSize;
      const reason = reasonOf(entry);
      return {
        start,
        end: start + BigInt(bytes),
        perm: permOf(flags),
        name: this.#nameOf(entry, names),
        pageSize,
        rss,
        own: pageable,
        proportional: rss,
        pinned: undefined,
        anonymous: entry.anonymous * pageSize,
        swapped: 0,
        locked: entry.locked * pageSize,
        referenced: 0,
        modified: 0,
        pageable: reason ? 0 : pageable,
        toSwap: 0,
        reason,
      };
    });
  }

  readPageStates(span: PageSpan): Promise<Uint8Array> {
    return Promise.resolve(this.#pageStates(span));
  }

  #pageStates({ firstPage, pages, pageSize }: PageSpan): Uint8Array {
    const states = new Uint8Array(pages);
    const start = BigInt(firstPage) * BigInt(pageSize);
    const mapping = this.#mapped?.mappings.find((mapping) =>
      mapping.start <= start && start < mappingEnd(mapping)
    );
    if (!mapping || !this.#mapped) return states;
    const from = Number((start - mapping.start) / BigInt(mapping.pageSize));
    const span = { from, to: from + pages };
    const bits = bitsOfPages(this.#mapped, mapping, span);
    return states.map((_, page) =>
      bits[page] === 0 ? PAGE_ABSENT : PAGE_PRESENT
    );
  }

  control(): Promise<PageoutControl> {
    const { libproc, pool } = this.#access;
    const files = this.#files;
    const layout = this.#layout;
    // An error becomes a rejection.
    return new Promise((resolve) =>
      resolve(
        IllumosPageout.open(this.#id, { libproc, pool, files, layout }),
      )
    );
  }

  /** @throws ProcessError if the address space is not the one that is observed. */
  #checkLayout(): void {
    const { layout } = this.#files.readPsinfo();
    if (this.#layout !== undefined && this.#layout !== layout) {
      // The open pagedata belongs to the address space that no longer exists.
      this.closePagedata();
      throw replaced(this.pid);
    }
    this.#layout = layout;
  }

  /** The name of a mapping: its kind, or the path of its object. */
  #nameOf({ flags, object }: XmapEntry, names: Map<string, string>): string {
    if (flags & MA_STACK) return "[stack]";
    if (flags & MA_BREAK) return "[heap]";
    if (flags & (MA_ISM | MA_SHM)) return "[shm]";
    // The object is a name in /proc/PID/path; a slash would lead to other files.
    if (object === "" || object.includes("/")) return "";
    let name = names.get(object);
    if (name === undefined) {
      name = this.#pathOf(object);
      names.set(object, name);
    }
    return name;
  }

  /** The path of a mapped object; its name if the system does not know the path. */
  #pathOf(object: string): string {
    try {
      return this.#files.readLink(`path/${object}`);
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
      return object;
    }
  }
}

/** Permissions in the notation of Linux. */
function permOf(flags: number): string {
  return (flags & MA_READ ? "r" : "-") + (flags & MA_WRITE ? "w" : "-") +
    (flags & MA_EXEC ? "x" : "-") + (flags & MA_SHARED ? "s" : "p");
}

/**
 * Why a scan skips a mapping, of the reasons that the algorithm knows. The pages that a
 * private mapping has from its file are shared with every process that maps the file.
 */
function reasonOf(entry: XmapEntry): SkipReason | undefined {
  const { bytes, flags, pageSize, resident } = entry;
  const isSchedctl = bytes === pageSize && flags === SCHEDCTL_FLAGS;
  if (isSchedctl) return "special";
  if (resident === 0) return "nonresident";
  return xmapResidency(entry).pageable === 0 ? "shared" : undefined;
}
