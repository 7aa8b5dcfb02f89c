/**
 * What the machine that the tests run on can show. Tests find it out first, are
 * right either way, and say what they could not show.
 *
 * @module
 */

import { mappingFigures, type Region, type Workload } from "./workload.ts";
import { say } from "./say.ts";

const USE_ZERO_PAGE = "/sys/kernel/mm/transparent_hugepage/use_zero_page";

/** Says what the machine cannot show; the test goes on with all else. */
export function cannotShow(what: string): void {
  say(`this machine cannot show ${what}`);
}

/**
 * How much of a region that nothing has written to, and that was read in full, is
 * zero pages, as the kernel counts: all of it, or nothing on machines without a zero
 * page. `RCAP_NO_ZERO_PAGE` makes any machine look like one without.
 */
export function zeroBytes({ pid }: Workload, { start, size }: Region): number {
  return size - mappingFigures(pid, start).rss;
}

/**
 * Has the kernel use its large zero page or not, until this is disposed: transhuge.rst.
 *
 * @returns `undefined` where the kernel does not let us.
 */
export function largeZeroPage(isUsed: boolean): Disposable | undefined {
  let before: string;
  try {
    before = Deno.readTextFileSync(USE_ZERO_PAGE);
    Deno.writeTextFileSync(USE_ZERO_PAGE, isUsed ? "1" : "0");
  } catch {
    cannotShow(`what is so with use_zero_page ${isUsed ? 1 : 0}`);
    return undefined;
  }
  return {
    [Symbol.dispose]: () => Deno.writeTextFileSync(USE_ZERO_PAGE, before),
  };
}
