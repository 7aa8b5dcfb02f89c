/**
 * Simulates whether the history of a page tells better than its age which page to page
 * out: page faults of policies at exactly the same number of resident pages. It only
 * reports and never fails.
 *
 * Time passes in intervals, in which reference bits are recorded, as rcap does. A fault
 * brings its page in, and pages out the one that the policy ranks highest, so that the
 * resident size is always the cap.
 *
 * @module
 */

import { type Column, renderTable } from "../lib/report/table.ts";
import { say } from "../tests/support/say.ts";
import { PAGES, type Trace, TRACES } from "./support/traces.ts";

/** The first third of a trace warms up, and does not count. */
const WARM_UP = 1 / 3;

/** The highest value of a byte. */
const MOST = 255;

/** What policies know of the pages: a byte of each for those of rcap. */
class Pages {
  readonly isResident = new Uint8Array(PAGES);
  /** Whether they were referenced in this interval. */
  readonly isReferenced = new Uint8Array(PAGES);
  /** Intervals since their last reference. */
  readonly age = new Uint8Array(PAGES).fill(MOST);
  /** As {@linkcode Policy.remember} returns it. */
  readonly history: Uint8Array;
  /** The times of their last and next references, and how many there were: for bounds. */
  readonly last = new Float64Array(PAGES).fill(-1);
  readonly next = new Float64Array(PAGES);
  readonly count = new Float64Array(PAGES);
  /** Where the hand of the clock is. */
  hand = 0;

  constructor(history: number) {
    this.history = new Uint8Array(PAGES).fill(history);
  }

  /** The resident page with the highest rank, the first of several. */
  highest(rank: (page: number) => number): number {
    let [victim, most] = [-1, -Infinity];
    for (let page = 0; page < PAGES; page++) {
      if (this.isResident[page] === 0) continue;
      const value = rank(page);
      if (value > most) [victim, most] = [page, value];
    }
    return victim;
  }
}

type Remember = (pages: Pages, page: number) => number;

interface Policy {
  readonly name: string;
  /** Chooses the page to page out. */
  victim(pages: Pages): number;
  /** The history of pages that were never referenced. */
  readonly fresh?: number;
  /** Returns the history of a page after an interval. Its age is still that of before. */
  readonly remember?: Remember;
  /** After how many intervals the history of a page that is out is forgotten. */
  readonly kept?: number;
}

/** Ranks idle pages by a figure, behind which come those that are in use. */
function idleFirst(
  rank: (pages: Pages, page: number) => number,
): Policy["victim"] {
  return (pages) =>
    pages.highest((page) =>
      pages.isReferenced[page] ? rank(pages, page) - 1e6 : rank(pages, page)
    );
}

/** The bands in which `coldest` distinguishes ages: powers of 2. */
const bandOf = (age: number) => 32 - Math.clz32(age);

/** An exponentially weighted moving average of references: 255 if there is one in every interval. */
function average(shift: number): Remember {
  return ({ history, isReferenced }, page) => {
    const now = history[page];
    return isReferenced[page]
      ? now + (MOST - now >> shift)
      : now - (now >> shift);
  };
}

/** The number of intervals between the last two in which a page was referenced; 255 if unknown. */
const gap: Remember = ({ history, isReferenced, age }, page) =>
  isReferenced[page] ? Math.min(MOST, age[page] + 1) : history[page];

/** The larger of the gap and the age: a page that took long to be used again may again. */
const gapOrAge = ({ history, age }: Pages, page: number) =>
  Math.max(age[page], history[page]);
const byGap = idleFirst(gapOrAge);

/** An average of the gaps, of which the last weighs half. */
const meanGap: Remember = (pages, page) => {
  const [before, last] = [pages.history[page], gap(pages, page)];
  return before === MOST ? last : Math.round((before + last) / 2);
};

const POLICIES: readonly Policy[] = [
  {
    name: "clock",
    victim(pages) {
      for (;;) {
        const page = pages.hand;
        pages.hand = (page + 1) % PAGES;
        if (!pages.isResident[page]) continue;
        // The history is the bit that the hand clears.
        if (pages.history[page] === 0) return page;
        pages.history[page] = 0;
      }
    },
  },
  {
    name: "coldest",
    victim: idleFirst(({ age }, page) => bandOf(age[page])),
  },
  { name: "age", victim: idleFirst(({ age }, page) => age[page]) },
  ...[2, 3].map((shift): Policy => ({
    name: `average ${shift}`,
    victim: idleFirst(({ history }, page) => -history[page]),
    remember: average(shift),
  })),
  {
    name: "average 3 in bands",
    victim: idleFirst(({ history, age }, page) =>
      bandOf(age[page]) * 256 - history[page]
    ),
    remember: average(3),
  },
  {
    name: "register",
    victim: idleFirst(({ history }, page) => -history[page]),
    remember: ({ history, isReferenced }, page) =>
      history[page] >> 1 | isReferenced[page] << 7,
  },
  { name: "gap", victim: byGap, fresh: MOST, remember: gap },
  {
    name: "gap in bands",
    victim: idleFirst((pages, page) => bandOf(gapOrAge(pages, page))),
    fresh: MOST,
    remember: gap,
  },
  {
    name: "gap, forgotten",
    victim: byGap,
    fresh: MOST,
    remember: gap,
    kept: 0,
  },
  { name: "mean gap", victim: byGap, fresh: MOST, remember: meanGap },
  {
    name: "LRU",
    victim: (pages) => pages.highest((page) => -pages.last[page]),
  },
  {
    name: "LFU",
    victim: (pages) => pages.highest((page) => -pages.count[page]),
  },
  {
    name: "OPT",
    victim: (pages) => pages.highest((page) => pages.next[page]),
  },
];

/** Returns how many faults a policy needs for a trace after its warm-up. */
function faultsOf(policy: Policy, { intervals, cap }: Trace): number {
  const pages = new Pages(policy.fresh ?? 0);
  const { isResident, isReferenced, age, history } = pages;
  const next = nextReferences(intervals);
  let [free, faults, time] = [Math.round(PAGES * cap), 0, 0];
  for (const [number, interval] of intervals.entries()) {
    for (const page of interval) {
      if (!isResident[page]) {
        if (number >= intervals.length * WARM_UP) faults++;
        if (free > 0) free--;
        else isResident[policy.victim(pages)] = 0;
        isResident[page] = 1;
      }
      isReferenced[page] = 1;
      if (!policy.remember) history[page] = 1;
      pages.count[page]++;
      pages.last[page] = time;
      pages.next[page] = next[time++];
    }
    for (let page = 0; page < PAGES; page++) {
      if (policy.remember) history[page] = policy.remember(pages, page);
      age[page] = isReferenced[page] ? 0 : Math.min(MOST, age[page] + 1);
      isReferenced[page] = 0;
      if (!isResident[page] && age[page] > (policy.kept ?? MOST)) {
        age[page] = MOST;
        history[page] = policy.fresh ?? 0;
      }
    }
  }
  return faults;
}

/** Returns when each reference's page is referenced next. */
function nextReferences(intervals: Trace["intervals"]): Float64Array {
  const all = intervals.flat();
  const next = new Float64Array(all.length);
  const when = new Float64Array(PAGES).fill(Infinity);
  for (let time = all.length - 1; time >= 0; time--) {
    next[time] = when[all[time]];
    when[all[time]] = time;
  }
  return next;
}

/** The faults of all traces with one policy. */
interface Row {
  readonly policy: string;
  readonly faults: readonly number[];
}

const rows: Row[] = POLICIES.map((policy) => ({
  policy: policy.name,
  faults: TRACES.map((trace) => faultsOf(policy, trace)),
}));
const [clock, coldest] = rows;
const better = clock.faults.map((faults, index) =>
  Math.min(faults, coldest.faults[index])
);
const columns: readonly Column<Row>[] = [
  { name: "policy", kind: "text", value: ({ policy }) => policy },
  ...TRACES.map(({ name }, index): Column<Row> => ({
    name,
    kind: "number",
    value: ({ faults }) => (faults[index] / better[index]).toFixed(2),
  })),
];
for (const { name, what, cap } of TRACES) {
  say(`${name}: ${what}; cap ${cap * 100} %`);
}
say("\nPage faults, relative to the better of clock and coldest:\n");
say(renderTable(columns, { rows, bare: false, exact: true, color: false }));
