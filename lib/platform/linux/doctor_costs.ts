/**
 * Finds out what it costs processes to be observed and paged out, and who else resets
 * their reference bits.
 *
 * @module
 */

import { readTextFileIfAny } from "../../../ffi/file.ts";
import { RcapError } from "../../errors.ts";
import {
  describePageIns,
  describeReference,
  meaningOfPageIns,
  meaningOfReference,
} from "../cost_words.ts";
import type { PageInCost, ProcessEntry } from "../platform.ts";
import type { Examination, Seen } from "./examination.ts";
import { measureFiles, measureSwap, nameOfFirstSwap } from "./memory_costs.ts";
import { MemoryCalls } from "./memory_calls.ts";
import { isNested } from "./namespaces.ts";
import { openPagedataSource } from "./open_source.ts";
import { listProcesses } from "./process_list.ts";
import { measureReference } from "./reference_cost.ts";

const references: Examination = {
  name: "references",
  required: false,
  meaning: "the daemon knows what observing a process costs it",
  without: "the daemon does not know what observing a process costs it",
  remedy: "see clear_refs",
  async look() {
    using source = openPagedataSource("auto", () => {});
    const lookAtLock = source.lookAtLock?.bind(source);
    const calls = new MemoryCalls({ lookAtLock });
    const cost = Math.round(await measureReference(source, calls));
    return {
      status: "ok",
      detail: `the first one to a page ${describeReference(cost)}`,
      meaning: meaningOfReference(cost),
    };
  },
};

const pageIn: Examination = {
  name: "page-in",
  required: false,
  meaning: "the daemon knows what a page costs that comes back",
  without: "it is not known what a page costs that comes back",
  remedy: "run as root",
  async look() {
    const costs: PageInCost[] = [];
    const others: string[] = [];
    for (const measure of [lookAtSwap, lookAtFiles]) {
      const found = await measure().catch((error) => {
        if (!(error instanceof RcapError)) throw error;
        return error.message;
      });
      if (typeof found === "string") others.push(found);
      else costs.push(found);
    }
    const isKnown = costs.length > 0;
    const texts = [...isKnown ? [describePageIns(costs)] : [], ...others];
    const detail = texts.join("; ");
    return isKnown
      ? { status: "ok", detail, meaning: meaningOfPageIns(costs) }
      : { status: "degraded", detail };
  },
};

/** Measures page-ins from swap, or returns why they cannot be measured. */
async function lookAtSwap(): Promise<PageInCost | string> {
  const device = nameOfFirstSwap();
  if (device === undefined) return "no free swap";
  return await measureSwap(device) ??
    `not measured from ${device}: rcap's own memory did not go there`;
}

/** Measures page-ins of files, or returns why they cannot be measured. */
async function lookAtFiles(): Promise<PageInCost | string> {
  return await measureFiles() ??
    "not measured from files: rcap's own program stays in memory, or belongs to another user";
}

const observers: Examination = {
  name: "other observers",
  required: false,
  meaning:
    "nothing that this machine shows resets reference bits besides rcap; the kernel itself does where it looks for pages to reclaim, and a hypervisor may",
  without:
    "memory in use can look idle, and be paged out: DAMON resets reference bits, too",
  remedy:
    "do without DAMON, if nothing needs it: write off to /sys/kernel/mm/damon/admin/kdamonds/*/state, or N to /sys/module/damon_*/parameters/enabled",
  look(): Seen {
    const threads = listProcesses().filter(isKdamond).map(({ comm }) => comm);
    const generations = hasGenerations()
      ? "; MGLRU is on: the kernel resets the bits of whole processes where it looks for pages to reclaim"
      : "";
    if (threads.length > 0) {
      return {
        status: "degraded",
        detail: `DAMON runs: ${threads.join(", ")}${generations}`,
      };
    }
    return isNested("pid")
      ? {
        status: "ok",
        detail: `the kernel's threads do not show here${generations}`,
        meaning:
          "it is not known whether DAMON resets reference bits, too; memory in use can look idle where it does",
      }
      : `DAMON does not run${generations}`;
  },
};

/** Whether a process is a thread of DAMON: `kdamond_fn` of mm/damon/core.c. */
export function isKdamond({ comm, isSystem }: ProcessEntry): boolean {
  return isSystem && /^kdamond\.\d+$/.test(comm);
}

/**
 * Whether the kernel ages memory in generations, for which it resets reference bits in
 * page tables: Documentation/admin-guide/mm/multigen_lru.rst.
 */
function hasGenerations(): boolean {
  return parseGenerations(
    readTextFileIfAny("/sys/kernel/mm/lru_gen/enabled") ?? "",
  );
}

/** Whether an `enabled` of MGLRU, such as `0x0007`, has the main switch set. */
export function parseGenerations(enabled: string): boolean {
  return (Number(enabled) & 1) === 1;
}

/** The examinations, in the order of their rows. */
export const COST_EXAMINATIONS: readonly Examination[] = [
  references,
  pageIn,
  observers,
];
