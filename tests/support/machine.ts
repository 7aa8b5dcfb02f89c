/**
 * What the machine that runs the tests can show. Tests check this first, pass in
 * either case, and report what they could not show.
 *
 * @module
 */

import { mappingFigures, type Region, type Workload } from "./workload.ts";
import { say } from "./say.ts";

const USE_ZERO_PAGE = "/sys/kernel/mm/transparent_hugepage/use_zero_page";

/** Reports what the machine cannot show; the test continues with the rest. */
export function cannotShow(what: string): void {
  say(`this machine cannot show ${what}`);
}

/**
 * How much of a region that was read completely but never written consists of zero
 * pages: all of it, or nothing on machines without a zero page. With
 * `RCAP_NO_ZERO_PAGE` every machine counts as one without.
 */
export function zeroBytes({ pid }: Workload, { start, size }: Region): number {
  return size - mappingFigures(pid, start).rss;
}

/**
 * Turns the kernel's huge zero page on or off until this is disposed:
 * transhuge.rst.
 *
 * @returns `undefined` if the kernel does not allow it.
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

/**
 * Gives the machine more huge pages for hugetlb until this is disposed:
 * Documentation/admin-guide/mm/hugetlbpage.rst.
 */
export function hugePages(count: number): Disposable {
  const control = "/proc/sys/vm/nr_hugepages";
  const read = () => Number(Deno.readTextFileSync(control));
  const before = read();
  Deno.writeTextFileSync(control, `${before + count}`);
  const restore = {
    [Symbol.dispose]: () => Deno.writeTextFileSync(control, `${before}`),
  };
  const found = read() - before;
  if (found === count) return restore;
  restore[Symbol.dispose]();
  throw new Error(
    `this test needs ${count} huge pages, and the kernel found ${found}`,
  );
}
