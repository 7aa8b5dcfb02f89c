/**
 * Pagedata from `/proc/<pid>/smaps`: works wherever `clear_refs` does, with one
 * reference bit per mapping. If any page of a mapping was referenced, all of them
 * count as referenced.
 *
 * @module
 */

import type { CallList } from "../../../ffi/call_list.ts";
import {
  exclusiveRuns,
  type OpenedPagemap,
  presentRuns,
} from "../../../ffi/pagemap.ts";
import { MODIFIED, type Pagedata, REFERENCED } from "../../memory/pagedata.ts";
import { pageable } from "./candidates.ts";
import { hasVirtualMachine } from "./kvm_descriptor.ts";
import { flagsOf, type LinuxMapping } from "./linux_mapping.ts";
import type { MemoryFiles } from "./memory_files.ts";
import { PageRecorder } from "./page_recorder.ts";
import type {
  PagedataRequest,
  PagedataSource,
  ResetOptions,
} from "./pagedata_source.ts";
import { Precision, requireRoom } from "./precision.ts";
import { ofProcessSlowly } from "./proc_dir.ts";
import { ResetPlan } from "./reset_plan.ts";

/** Size of the smallest pages. */
const PAGE_SIZE = 4096;

/** Reads smaps. */
export class SmapsSource implements PagedataSource {
  readonly name = "smaps";

  async reset(
    files: MemoryFiles,
    { plan = new ResetPlan() }: ResetOptions = {},
  ): Promise<void> {
    // What it will cost is known after the next reading, and delays the next reset.
    if (!plan.mayBeginWithAll) return plan.begin();
    await files.clearReferences();
    plan.beginWithAll();
  }

  refresh(): Promise<void> {
    // For smaps, the kernel remembers bits that it resets; and one page in use
    // suffices.
    return Promise.resolve();
  }

  async read(files: MemoryFiles, request: PagedataRequest): Promise<Pagedata> {
    // Opened first, so that it belongs to the same address space or an older one.
    using pagemap = await files.openPagemap();
    const { purpose, precision = new Precision(), plan = new ResetPlan() } =
      request;
    const parser = precision.parser(purpose);
    const mappings = await files.readSmaps(parser);
    plan.readWhole(sumOf(mappings, "referenced"), purpose === "scan");
    const decide = () =>
      request.resetsAll ? plan.decideAll() : plan.decide(false);
    if (purpose === "scan" && decide() === "all") {
      await files.clearReferences();
      plan.noteReset("all");
    }
    const opened = {
      pagemap,
      make: (calls: CallList) => files.make(calls),
      onWork: (seconds: number) => files.cost.seconds += seconds,
    };
    const rss = sumOf(mappings, "rss");
    files.cost.pages += rss / PAGE_SIZE;
    for (;;) {
      const recorder = precision.recorder(purpose, rss / PAGE_SIZE);
      const pagedata = await ofProcessSlowly(
        files.pid,
        () => pagedataOfSmaps(mappings, opened, { ...request, recorder }),
      );
      requireRoom(files.pid, recorder, request);
      if (!precision.noteRecorded(recorder, parser.joined, pagedata)) {
        return pagedata;
      }
    }
  }

  /** Recognizes virtual machines of KVM only. */
  hasSecondaryMmu({ directory }: MemoryFiles): boolean {
    return hasVirtualMachine(directory);
  }

  hasRun(): boolean {
    return true;
  }

  [Symbol.dispose](): void {
    // Nothing stays open.
  }
}

/**
 * Makes pagedata from a parsed smaps.
 *
 * @param pagemap the open pagemap of the same process, which shows the present
 * pages of a partly resident mapping.
 */
export async function pagedataOfSmaps(
  mappings: readonly LinuxMapping[],
  pagemap: OpenedPagemap,
  { purpose, context, recorder = new PageRecorder() }: PagedataRequest & {
    readonly recorder?: PageRecorder;
  },
): Promise<Pagedata> {
  for (const mapping of mappings) {
    const { start, end, pageSize, rss, own } = mapping;
    const pages = Number(end - start) / pageSize;
    recorder.addMapping({ start, pages, pageSize, flags: flagsOf(mapping) });
    const isWanted = purpose === "inspect" ||
      pageable(mapping, context).bytes > 0;
    if (rss === 0 || !isWanted) continue;
    const bits = bitsOf(mapping);
    // A page-out passes over pages that are mapped more than once.
    const isOwn = purpose === "inspect" || own === rss;
    if (isOwn && rss === pages * pageSize) {
      recorder.addPages(0, { count: pages, bits });
      continue;
    }
    const firstPage = Number(start / BigInt(pageSize));
    const runs = isOwn ? presentRuns : exclusiveRuns;
    await runs(
      pagemap,
      { firstPage, pages, pageSize },
      (page, count) => {
        recorder.addPages(page, { count, bits });
      },
    );
  }
  return recorder.build();
}

/** Adds up a figure of all mappings, in bytes. */
function sumOf(
  mappings: readonly LinuxMapping[],
  figure: "rss" | "referenced",
): number {
  return mappings.reduce((sum, mapping) => sum + mapping[figure], 0);
}

/**
 * Returns the bits of every page of a mapping. smaps does not show what was
 * modified since references were cleared, so a mapping that is both referenced and
 * dirty counts as modified.
 */
function bitsOf({ referenced, dirty }: LinuxMapping): number {
  if (referenced === 0) return 0;
  return dirty > 0 ? REFERENCED | MODIFIED : REFERENCED;
}
