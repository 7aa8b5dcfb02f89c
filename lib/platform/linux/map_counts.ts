/**
 * Reads how often pages are mapped, and whether they are pinned.
 *
 * @module
 */

import { SharedMap, SyscallProgram } from "../../../ffi/bpf.ts";
import { CapabilityError } from "../../errors.ts";
import {
  countPages,
  ENTRIES,
  ENTRIES_AT,
  MAP_BYTES,
  PAGE_BYTES,
  type PageLayout,
  RECORDS_AT,
  VMEMMAP_AT,
} from "./count_pages.ts";
import type { Geometry, Halves } from "./table_path.ts";

const PAGE = 4096;

/** Reads map counts; closed by `using`. */
export class MapCounts implements Disposable {
  readonly #held = new DisposableStack();
  readonly #program: SyscallProgram;
  readonly #vmemmap: BigUint64Array<ArrayBuffer>;
  /** The entries of the leaf table to count, in halves. */
  readonly entries: Uint32Array<ArrayBuffer>;
  /** The records of their pages. */
  readonly records: Uint16Array<ArrayBuffer>;

  /**
   * Loads the program. {@linkcode vmemmap} must be set before anything is counted.
   *
   * @throws CapabilityError if the program does not fit the layout.
   * @throws BpfError if the kernel refuses.
   */
  constructor(
    layout: PageLayout,
    geometry: Pick<Geometry, "layout" | "addressHigh">,
  ) {
    if (layout.size !== PAGE_BYTES) {
      throw new CapabilityError(
        `this kernel's struct page has ${layout.size} bytes, not ${PAGE_BYTES}`,
      );
    }
    using held = new DisposableStack();
    const map = held.use(new SharedMap(MAP_BYTES));
    this.#program = held.use(
      new SyscallProgram("count_pages", countPages(map.fd, layout, geometry), [
        "pages",
      ]),
    );
    this.#vmemmap = new BigUint64Array(map.memory, VMEMMAP_AT, 1);
    this.entries = new Uint32Array(map.memory, ENTRIES_AT, ENTRIES * 2);
    this.records = new Uint16Array(map.memory, RECORDS_AT, ENTRIES);
    this.#held = held.move();
  }

  /** The address of the `struct page` of the first page of physical memory. */
  set vmemmap(address: bigint) {
    this.#vmemmap[0] = address;
  }

  /** Sets the records to those of the entries. */
  count(): void {
    this.#program.run(0);
  }

  /**
   * Sets the entries to those of the small pages of which a large page consists.
   *
   * @param entry the entry of the large page, of 2 MiB.
   */
  expand({ low, high }: Halves): void {
    const inverted = low & 1 ? 0 : -1;
    const first = (low ^ inverted) & LARGE_ADDRESS | 1;
    const pageHigh = high ^ inverted;
    for (let i = 0; i < ENTRIES; i++) {
      this.entries[i * 2] = first + i * PAGE;
      this.entries[i * 2 + 1] = pageHigh;
    }
  }

  [Symbol.dispose](): void {
    this.#held[Symbol.dispose]();
  }
}

/** The address bits in the low half of the entry of a large page of 2 MiB. */
const LARGE_ADDRESS = 0xffe0_0000;
