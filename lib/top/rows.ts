/**
 * The rows of `rcap top`: processes or groups of them, filtered and sorted.
 *
 * @module
 */

import {
  type CapFigures,
  type Figures,
  type Grouping,
  IDLE_TIMES,
  type ProcessFigures,
} from "./figures.ts";

/** A row. Sizes in bytes. */
export interface Row {
  /** Identifies it from one moment to the next. */
  readonly key: string;
  readonly name: string;
  /** The process; `undefined` if the row is a group. */
  readonly process: ProcessFigures | undefined;
  readonly processes: number;
  /** How deep it is in the tree of processes. */
  readonly depth: number;
  readonly rss: number;
  /** Used within the last minute; null until a minute was observed. */
  readonly inUse: number | null;
  /** Not used for each of `IDLE_TIMES` or longer; null while nothing was observed. */
  readonly idle: readonly number[] | null;
  /** What was judged: of this are `idle` and `inUse`. */
  readonly recorded: number;
  readonly unjudged: number;
  readonly swap: number | null;
  readonly refaults: number | null;
  readonly cost: number | null;
  readonly cap: CapFigures | undefined;
  /** Why it is not observed; of a group, of how many processes that is so. */
  readonly problem: string | undefined;
}

/** By what rows are sorted: the largest first, except for names. */
export const SORTS = [
  "idle",
  "rss",
  "use",
  "swap",
  "refaults",
  "name",
] as const;
export type Sort = typeof SORTS[number];

export interface RowOptions {
  readonly by: Grouping;
  readonly sort: Sort;
  readonly isReversed: boolean;
  /** Shows the rows whose name or pid contains it, whatever the case. */
  readonly filter: string;
  /** Shows processes below their parents. */
  readonly tree: boolean;
}

const MINUTE = IDLE_TIMES.indexOf(60);

/** Returns the rows for some figures. */
export function rowsOf(figures: Figures, options: RowOptions): Row[] {
  const { by, filter, tree } = options;
  const capOf = new Map(figures.caps.map((cap) => [cap.name, cap]));
  const groups = by === "process"
    ? figures.processes.map((process) => [process])
    : [...Map.groupBy(figures.processes, ({ group }) => group).values()];
  const rows = groups.map((members) => rowOf(members, by, capOf));
  if (by === "cap") rows.push(...emptyCaps(figures.caps, rows));
  const wanted = filter.toLowerCase();
  const shown = rows.filter(({ name, process }) =>
    name.toLowerCase().includes(wanted) || `${process?.pid}` === wanted
  ).sort(comparing(options));
  return tree && by === "process" ? asTree(shown) : shown;
}

/** Caps of which no process is known here: what the daemon says of them. */
function emptyCaps(caps: readonly CapFigures[], rows: readonly Row[]): Row[] {
  const known = new Set(rows.map(({ name }) => name));
  return caps.filter(({ name }) => !known.has(name))
    .map((cap) => ({ ...rowOf([], "cap", new Map()), ...ofCap(cap) }));
}

function ofCap(cap: CapFigures) {
  const { name, rss, swap } = cap;
  return { key: `cap ${name}`, name, rss, swap, cap };
}

function rowOf(
  members: readonly ProcessFigures[],
  by: Grouping,
  caps: ReadonlyMap<string, CapFigures>,
): Row {
  const process = by === "process" ? members[0] : undefined;
  const group = members[0]?.group ?? "";
  const observed = members.flatMap(({ ages }) => ages ? [ages] : []);
  const sum = <T>(all: readonly T[], figure: (one: T) => number | null) =>
    all.reduce<number | null>((total, one) => {
      const value = figure(one);
      return value === null ? total : (total ?? 0) + value;
    }, null);
  const idle = observed.length === 0
    ? null
    : IDLE_TIMES.map((_, at) =>
      observed.reduce((total, ages) => total + ages.idle[at], 0)
    );
  const recorded = sum(observed, (ages) => ages.recorded) ?? 0;
  const isKnownForMinute = idle !== null &&
    observed.every(({ seconds }) => seconds >= 60);
  const failed = members.filter(({ error }) => error !== undefined);
  const capNames = new Set(members.map(({ cap }) => cap));
  const [capName] = capNames.size === 1 ? capNames : [];
  const cap = capName === undefined ? undefined : caps.get(capName);
  return {
    key: process ? `${process.pid} ${process.startTime}` : `${by} ${group}`,
    name: process ? process.comm : group,
    process,
    processes: members.length,
    depth: 0,
    rss: by === "cap" && cap ? cap.rss : sum(members, ({ rss }) => rss) ?? 0,
    inUse: isKnownForMinute ? recorded - idle[MINUTE] : null,
    idle,
    recorded,
    unjudged: sum(observed, ({ unjudged }) => unjudged) ?? 0,
    swap: sum(members, ({ swap }) => swap),
    refaults: sum(members, ({ refaults }) => refaults),
    cost: sum(observed, ({ cost }) => cost),
    cap,
    problem: process || failed.length === 0
      ? failed[0]?.error
      : `${failed.length} of ${members.length} processes not observed: ${
        failed[0].error
      }`,
  };
}

/** How much is idle, with more weight to what is idle for longer: by this, rows are sorted. */
function idleness({ idle }: Row): number {
  // What is idle for a minute counts; until then, what is idle for ten seconds.
  return idle === null ? -1 : idle[MINUTE] + idle[0] / 1024;
}

const FIGURE: Readonly<
  Record<Exclude<Sort, "name">, (row: Row) => number>
> = {
  idle: idleness,
  rss: ({ rss }) => rss,
  use: ({ inUse }) => inUse ?? -1,
  swap: ({ swap }) => swap ?? -1,
  refaults: ({ refaults }) => refaults ?? -1,
};

function comparing(
  { sort, isReversed }: RowOptions,
): (a: Row, b: Row) => number {
  const sign = isReversed ? -1 : 1;
  return (a, b) => {
    const order = sort === "name"
      ? a.name < b.name ? -1 : a.name > b.name ? 1 : 0
      : FIGURE[sort](b) - FIGURE[sort](a);
    return sign * order || b.rss - a.rss ||
      (a.key < b.key ? -1 : 1);
  };
}

/** Puts processes below their parents, in their order. */
function asTree(rows: readonly Row[]): Row[] {
  const pids = new Set(rows.map(({ process }) => process?.pid));
  const children = Map.groupBy(
    rows,
    ({ process }) =>
      process && pids.has(process.ppid) && process.ppid !== process.pid
        ? process.ppid
        : undefined,
  );
  const found: Row[] = [];
  const seen = new Set<Row>();
  // Without recursion: a tree of processes may be as deep as there are processes.
  const left = (children.get(undefined) ?? []).map((row) => ({ row, depth: 0 }))
    .reverse();
  for (let next = left.pop(); next; next = left.pop()) {
    const { row, depth } = next;
    if (seen.has(row)) continue;
    seen.add(row);
    found.push({ ...row, depth });
    for (const child of (children.get(row.process?.pid) ?? []).toReversed()) {
      left.push({ row: child, depth: depth + 1 });
    }
  }
  // A pid that was reused between two looks can make a circle.
  return [...found, ...rows.filter((row) => !seen.has(row))];
}
