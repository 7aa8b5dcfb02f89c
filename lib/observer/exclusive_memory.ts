/**
 * The memory of a process whose references are reset only by whoever has the right to.
 *
 * @module
 */

import type { PageSpan } from "../memory/page_states.ts";
import type { Pagedata } from "../memory/pagedata.ts";
import type { PageoutControl } from "../memory/process_memory.ts";
import { WrappedMemory } from "../memory/wrapped_memory.ts";
import { mergePagedata } from "../scanner/merge.ts";
import type {
  Footprint,
  HeldMemory,
  MappingFigures,
  MonitoredMemory,
  PagedataPurpose,
  PagedataSourceName,
  ProcessId,
  ReadCost,
} from "../platform/platform.ts";
import type { ResetRights } from "./reset_rights.ts";

/** Every member of an interface, optional ones too: none may be forgotten. */
type Whole<T> = {
  [K in keyof Required<T>]: T[K];
};

/**
 * Returns the memory of a process, observed as far as its observer may.
 *
 * @param rights `undefined` if nothing is known of other observers.
 */
export function exclusive(
  memory: MonitoredMemory,
  id: ProcessId,
  rights: ResetRights | undefined,
): MonitoredMemory {
  return rights ? new ExclusiveMemory(memory, id, rights) : memory;
}

/** Passes every call on, except that references are only reset by right. */
export class ExclusiveMemory extends WrappedMemory
  implements Whole<MonitoredMemory> {
  readonly #memory: MonitoredMemory;
  readonly #id: ProcessId;
  readonly #rights: ResetRights;
  /** What was referenced when another observer had the references reset. */
  #handedOver: Pagedata | undefined;
  /** The last step that reads or resets; they do not overlap. */
  #step: Promise<unknown> = Promise.resolve();

  constructor(memory: MonitoredMemory, id: ProcessId, rights: ResetRights) {
    super(memory);
    this.#memory = memory;
    this.#id = id;
    this.#rights = rights;
  }

  reset(): Promise<void> {
    return this.#inTurn(() => this.#reset());
  }

  async #reset(): Promise<void> {
    if (await this.#rights.take(this.#id)) await this.#memory.reset();
    this.#handedOver = undefined;
  }

  override readPagedata(): Promise<Pagedata> {
    return this.read("scan");
  }

  read(purpose: PagedataPurpose): Promise<Pagedata> {
    return this.#inTurn(() => this.#read(purpose));
  }

  async #read(purpose: PagedataPurpose): Promise<Pagedata> {
    const owns = this.#rights.owns(this.#id);
    const resets = purpose === "scan";
    const pagedata = await this.#memory.read(
      resets && !owns ? "glance" : purpose,
    );
    if (this.#handedOver) mergePagedata(this.#handedOver, pagedata);
    if (resets && owns) this.#handedOver = undefined;
    else if (resets) await this.#reset();
    return pagedata;
  }

  /**
   * Resets references for another observer. What was referenced until then counts as
   * found by the next reading, so that none of it is missed.
   *
   * @param onReset called before anything else reads or resets references.
   */
  handOver(onReset: () => void): Promise<void> {
    return this.#inTurn(async () => {
      const pagedata = await this.#memory.read("lend");
      if (this.#handedOver) mergePagedata(this.#handedOver, pagedata);
      this.#handedOver = pagedata;
      onReset();
    });
  }

  /** Runs a step after those before it. */
  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const done = this.#step.then(step);
    this.#step = done.catch(() => {});
    return done;
  }

  /** Who may not reset references cannot cool, either, which resets them. */
  override async control(): Promise<PageoutControl> {
    const control = await super.control();
    if (!control.cool || this.#rights.owns(this.#id)) return control;
    return {
      maxRanges: control.maxRanges,
      pageOut: control.pageOut.bind(control),
      [Symbol.dispose]: () => control[Symbol.dispose](),
    };
  }

  get unreadable(): string | undefined {
    return this.#rights.refusalOf(this.#id) ?? this.#memory.unreadable;
  }

  checkAccess(): Promise<void> {
    return this.#memory.checkAccess();
  }

  refresh(): Promise<void> {
    return this.#memory.refresh();
  }

  get readCost(): Readonly<ReadCost> {
    return this.#memory.readCost;
  }

  get observationCost(): number | undefined {
    return this.#memory.observationCost;
  }

  get unjudged(): number | undefined {
    return this.#memory.unjudged;
  }

  get unresetFor(): ((milliseconds: number) => number) | undefined {
    return this.#memory.unresetFor?.bind(this.#memory);
  }

  /** What was referenced before another observer took over may be new to the caller. */
  hasRun(): boolean {
    return this.#handedOver !== undefined || this.#memory.hasRun();
  }

  get isAlone(): (() => boolean) | undefined {
    return this.#memory.isAlone?.bind(this.#memory);
  }

  get isHalted(): (() => boolean) | undefined {
    return this.#memory.isHalted?.bind(this.#memory);
  }

  get silence(): string | undefined {
    return this.#memory.silence;
  }

  get coarseness(): string | undefined {
    return this.#memory.coarseness;
  }

  get leftAlone(): string | undefined {
    return this.#memory.leftAlone;
  }

  get pagedata(): PagedataSourceName | undefined {
    return this.#memory.pagedata;
  }

  get knowsProportional(): boolean {
    return this.#memory.knowsProportional;
  }

  readFootprint(): Promise<Footprint> {
    return this.#memory.readFootprint();
  }

  get readHeld(): (() => HeldMemory) | undefined {
    return this.#memory.readHeld?.bind(this.#memory);
  }

  get swapLimit(): (() => string | undefined) | undefined {
    return this.#memory.swapLimit?.bind(this.#memory);
  }

  get readSwap(): (() => number) | undefined {
    return this.#memory.readSwap?.bind(this.#memory);
  }

  get restore(): MonitoredMemory["restore"] {
    return this.#memory.restore?.bind(this.#memory);
  }

  readMappings(purpose?: PagedataPurpose): Promise<MappingFigures[]> {
    return this.#memory.readMappings(purpose);
  }

  readPageStates(span: PageSpan): Promise<Uint8Array> {
    return this.#memory.readPageStates(span);
  }
}
