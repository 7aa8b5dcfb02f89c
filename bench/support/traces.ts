/**
 * Traces for simulations: which pages workloads reference, interval by interval, the
 * same in every run.
 *
 * @module
 */

/** The references of a workload. */
export interface Trace {
  readonly name: string;
  readonly what: string;
  /** The cap, as a share of its pages. */
  readonly cap: number;
  /** The pages referenced in each interval, in order. */
  readonly intervals: readonly (readonly number[])[];
}

/** The pages of every trace. */
export const PAGES = 1000;

/** Random numbers from 0 to 1 (mulberry32). */
type Random = () => number;

function randomNumbers(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A sequence of pages. */
function pages(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => (first + index) % PAGES);
}

function shuffled(list: number[], random: Random): number[] {
  for (let at = list.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [list[at], list[other]] = [list[other], list[at]];
  }
  return list;
}

/** Returns a function that draws one of some pages by Zipf's law, popular ones spread over all. */
function zipf(among: number[], exponent: number, random: Random): () => number {
  const places = shuffled(among, random);
  let sum = 0;
  const sums = places.map((_, rank) => sum += (rank + 1) ** -exponent);
  return () => {
    const wanted = random() * sum;
    let [low, high] = [0, places.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle] < wanted) low = middle + 1;
      else high = middle;
    }
    return places[low];
  };
}

function trace(
  name: string,
  what: string,
  cap: number,
  count: number,
  make: (random: Random) => (interval: number) => number[],
): Trace {
  const next = make(randomNumbers(15));
  const intervals = Array.from({ length: count }, (_, index) => next(index));
  return { name, what, cap, intervals };
}

/** Draws some pages. */
function draw(count: number, choose: () => number): number[] {
  return Array.from({ length: count }, choose);
}

/** The traces. Where nothing else is said, an interval stands for 5 s. */
export const TRACES: readonly Trace[] = [
  trace(
    "backup",
    "20 % hot, 30 % used once a minute, all read every 5 minutes",
    0.6,
    900,
    (random) => (now) => [
      ...shuffled(pages(0, 200), random),
      ...(now % 12 === 0 ? pages(200, 300) : []),
      ...(now % 60 < 4 ? pages(now % 60 * 250, 250) : []),
    ],
  ),
  trace(
    "backup, spread",
    "the same, the warm part a twelfth at a time",
    0.6,
    900,
    (random) => (now) => [
      ...shuffled(pages(0, 200), random),
      ...pages(200 + now % 12 * 25, 25),
      ...(now % 60 < 4 ? pages(now % 60 * 250, 250) : []),
    ],
  ),
  trace(
    "jvm",
    "30 % filled from end to end twice a minute, 10 % hot, all touched every 2 minutes",
    0.6,
    600,
    (random) => (now) => [
      ...shuffled(pages(0, 100), random),
      ...pages(100 + now % 6 * 50, 50),
      ...(now % 24 === 0 ? shuffled(pages(0, PAGES), random) : []),
    ],
  ),
  trace(
    "bgsave",
    "20 % read by Zipf's law, all touched in 10 s once a minute in random order",
    0.5,
    600,
    (random) => {
      const key = zipf(pages(800, 200), 0.99, random);
      let save: number[] = [];
      return (now) => {
        if (now % 12 === 0) save = shuffled(pages(0, PAGES), random);
        return [...draw(4000, key), ...save.splice(0, 500)];
      };
    },
  ),
  trace(
    "pgbench",
    "8 backends, each with 100 pages by Zipf's law, and 25 that it used at its start",
    0.6,
    600,
    (random) => {
      const backends = Array.from(
        { length: 8 },
        (_, index) => zipf(pages(index * 125, 100), 0.8, random),
      );
      return (now) =>
        now === 0
          ? pages(0, PAGES)
          : draw(800, () => backends[Math.floor(random() * 8)]());
    },
  ),
  trace(
    "skewed",
    "Zipf's law, 6.5 references a page in intervals of 1 s",
    0.8,
    150,
    (random) => {
      const page = zipf(pages(0, PAGES), 0.99, random);
      return () => draw(6.5 * PAGES, page);
    },
  ),
  trace(
    "zipf",
    "Zipf's law, 0.5 references a page",
    0.5,
    450,
    (random) => {
      const page = zipf(pages(0, PAGES), 0.8, random);
      return () => draw(0.5 * PAGES, page);
    },
  ),
  trace(
    "drift",
    "40 % hot, moving by 10 % every 10 s, others touched at random",
    0.6,
    600,
    (random) => (now) => [
      ...shuffled(pages((now >> 1) * 100, 400), random),
      ...draw(3, () => Math.floor(random() * PAGES)),
    ],
  ),
  trace(
    "new places",
    "40 % hot, elsewhere from minute to minute",
    0.6,
    900,
    (random) => {
      let hot: number[] = [];
      return (now) => {
        if (now % 12 === 0) hot = shuffled(pages(0, PAGES), random).slice(600);
        return shuffled(hot, random);
      };
    },
  ),
  trace(
    "fleet",
    "50 processes, each in turn in use for 1 s",
    0.5,
    600,
    (random) => (now) => shuffled(pages(now * 97, 97), random),
  ),
];
