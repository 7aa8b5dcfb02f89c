/**
 * Tests of `rcap inspect` on live processes: figures against `/proc/<pid>/smaps`,
 * verdicts, pages, and output forms.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type {
  InspectReport,
  MappingReport,
  PagesReport,
} from "../../../lib/oneshot/inspect.ts";
import { diskFile, GIB, KIB, MIB, requireRoot } from "../../support/live.ts";
import { rcap, rcapJson, type RunOptions } from "../../support/rcap.ts";
import { anySwap, withoutSwap } from "../../support/swap.ts";
import {
  mappingFigures,
  type Region,
  rssOf,
  Workload,
} from "../../support/workload.ts";

requireRoot();

const PAGE = 4 * KIB;

/** A user that need not exist. */
const SOMEONE = 54_341;

/** Longer than the TLB delays a reference. */
const LONG = ["--observe", "2500ms"];
/** For tests in which nothing depends on hot memory. */
const NOT = ["--observe", "0"];

const SIZES = [
  "size",
  "rss",
  "own",
  "anon",
  "referenced",
  "modified",
  "swapped",
  "locked",
] as const;

/** Runs `rcap inspect --json` and checks the form of its output. */
async function inspect(
  { pid }: Workload,
  args: string[],
  options?: RunOptions,
): Promise<InspectReport> {
  const { code, json, stderr } = await rcapJson<InspectReport>(
    ["inspect", `${pid}`, ...args],
    options,
  );
  assertEquals(code, 0, stderr);
  assertKeys(json, [
    "version",
    "pid",
    "comm",
    "pagedata",
    "observedSeconds",
    "observationCost",
    "mappings",
    "totals",
  ]);
  assertKeys(json.totals, SIZES);
  for (const mapping of json.mappings) {
    assertKeys(mapping, [
      "start",
      "end",
      "perm",
      "name",
      "pageSize",
      "verdict",
      ...SIZES,
    ]);
  }
  // Only root can read page tables.
  const best = options?.uid === undefined ? "pte" : "smaps";
  const source = args.includes("smaps") ? "smaps" : best;
  assertEquals([json.version, json.pid, json.pagedata], [1, pid, source]);
  return json;
}

function assertKeys(object: object, keys: readonly string[]): void {
  assertEquals(Object.keys(object).sort(), [...keys].sort());
}

/** The mapping of a region. */
function mappingOf(
  { mappings }: InspectReport,
  { name, start, size }: Region,
): MappingReport {
  const mapping = mappings.find((mapping) => BigInt(mapping.start) === start);
  assert(mapping, `region ${name} is in the report`);
  assertEquals(mapping.size, size, name);
  return mapping;
}

/** Pages out all of a region. */
async function pageOut(workload: Workload, name: string): Promise<void> {
  // Pages touched last wait in an LRU batch of their processor, where a page-out on
  // another one does not find them until more pages fill the batch.
  for (let turn = 0; turn < 100; turn++) {
    await workload.pageout(name);
    if (await workload.resident(name) === 0) return;
    await workload.anon(`more${turn}`, 256 * KIB);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`region ${name} is not paged out`);
}

/** The lines of a text, without the last newline. */
function lines(text: string): string[] {
  assert(text.endsWith("\n"), text);
  return text.slice(0, -1).split("\n");
}

Deno.test("figures, verdicts and totals are right for every kind of memory", async () => {
  await using _swap = await anySwap({ size: 64 * MIB });
  using hotFile = await diskFile(4 * MIB);
  using sharedFile = await diskFile(4 * MIB);
  using privateFile = await diskFile(4 * MIB);
  using warmFile = await diskFile(4 * MIB);
  await using workload = await Workload.start({ name: "inspected" });
  const { pid } = workload;

  const read = await workload.anon("read", 16 * MIB);
  const written = await workload.anon("written", 4 * MIB);
  const hot = await workload.file("hot", hotFile);
  const warm = await workload.file("warm", warmFile);
  const cold = await workload.anon("cold", 4 * MIB);
  const shared = await workload.file("shared", {
    path: sharedFile.path,
    shared: true,
  });
  const own = await workload.file("own", privateFile);
  const memfd = await workload.memfd("memfd", 2 * MIB);
  const shm = await workload.shm("shm", 2 * MIB);
  const locked = await workload.anon("locked", 2 * MIB);
  const swapped = await workload.anon("swapped", 2 * MIB);
  const reserved = await workload.reserve("reserved", 2 ** 40);
  await workload.lock("locked");
  await pageOut(workload, "swapped");
  for (const name of ["read", "hot"]) await workload.hot(name);
  await workload.hot("warm", { offset: 2 * MIB, size: 2 * MIB });
  await workload.write("written");

  for (const source of ["pte", "smaps"]) {
    const report = await inspect(workload, [...LONG, "--pagedata", source]);
    assertEquals([report.comm, report.observedSeconds], ["inspected", 2.5]);

    const expected: [Region, Partial<MappingReport>][] = [
      [read, { verdict: "hot", referenced: read.size, perm: "rw-p" }],
      [written, {
        verdict: "hot",
        referenced: written.size,
        modified: written.size,
      }],
      [hot, {
        verdict: "hot",
        referenced: hot.size,
        modified: 0,
        name: hotFile.path,
      }],
      [warm, { verdict: "warm", referenced: 2 * MIB, modified: 0 }],
      [cold, { verdict: "cold", referenced: 0, modified: 0, anon: cold.size }],
      [shared, {
        verdict: "cold",
        referenced: 0,
        anon: 0,
        perm: "rw-s",
        name: sharedFile.path,
      }],
      [own, { verdict: "cold", referenced: 0, anon: 0, perm: "rw-p" }],
      [memfd, {
        verdict: "cold",
        name: "/memfd:memfd (deleted)",
        perm: "rw-s",
      }],
      [shm, { verdict: "cold", perm: "rw-s" }],
      [locked, { verdict: "locked", locked: locked.size, rss: locked.size }],
      [swapped, { verdict: "nonresident", rss: 0, swapped: swapped.size }],
      [reserved, { verdict: "nonresident", rss: 0, swapped: 0, locked: 0 }],
    ];
    for (const [region, fields] of expected) {
      const mapping = mappingOf(report, region);
      const found = Object.fromEntries(
        Object.entries(mapping).filter(([key]) => key in fields),
      );
      assertEquals<object>(found, fields, region.name);
      const figures = mappingFigures(pid, region.start);
      const { size, rss, own, anonymous, swap } = figures;
      const { rss: resident, anon, swapped } = mapping;
      assertEquals(
        { size: mapping.size, resident, own: mapping.own, anon, swapped },
        { size, resident: rss, own, anon: anonymous, swapped: swap },
        region.name,
      );
    }
    const special = report.mappings.filter(({ verdict }) =>
      verdict === "special"
    );
    assert(
      special.some(({ name }) => name === "[vdso]"),
      JSON.stringify(special),
    );

    // Every mapping, in order.
    const maps = Deno.readTextFileSync(`/proc/${pid}/maps`).trimEnd().split(
      "\n",
    );
    assertEquals(
      report.mappings.map(({ start, end, perm }) => `${start}-${end} ${perm}`),
      maps.map((line) =>
        line.replace(/^0*(\w+)-0*(\w+) (\S+) .*$/, "0x$1-0x$2 $3")
      ),
    );
    for (const figure of SIZES) {
      const sum = report.mappings.reduce(
        (sum, mapping) => sum + mapping[figure],
        0,
      );
      assertEquals(report.totals[figure], sum, figure);
    }
    assertEquals(report.totals.rss, rssOf(pid));
  }
  assert(await workload.checksum());
});

Deno.test("without swap, only files are cold", async () => {
  await using _none = await withoutSwap();
  using file = await diskFile(MIB);
  using writtenFile = await diskFile(MIB);
  await using workload = await Workload.start();
  const anon = await workload.anon("anon", MIB);
  const memfd = await workload.memfd("memfd", MIB);
  const shm = await workload.shm("shm", MIB);
  const cold = await workload.file("cold", file);
  const written = await workload.file("written", writtenFile);
  await workload.write("written");
  await workload.checksum();
  const report = await inspect(workload, NOT);
  const verdicts = [anon, memfd, shm, cold, written].map((region) =>
    mappingOf(report, region).verdict
  );
  assertEquals(verdicts.slice(0, 3), ["no-swap", "no-swap", "no-swap"]);
  assertEquals(verdicts[3], "cold");
  // Written private pages do not belong to a file any more.
  assertEquals(verdicts[4], "no-swap");
});

Deno.test("memory that others map too is shared", async () => {
  using file = await diskFile(MIB);
  await using workload = await Workload.start();
  await using other = await Workload.start();
  const anon = await workload.anon("anon", 2 * MIB);
  const library = await workload.file("library", file);
  await other.file("library", file);
  await workload.fork();
  const report = await inspect(workload, NOT);
  for (const region of [anon, library]) {
    const { verdict, rss, own } = mappingOf(report, region);
    assertEquals(
      { verdict, rss, own },
      { verdict: "shared", rss: region.size, own: 0 },
    );
  }
});

Deno.test("pages are shown as one character each, for a range or to the end of the mapping", async () => {
  await using _swap = await anySwap({ size: 16 * MIB });
  using coldFile = await diskFile(40 * PAGE);
  using hotFile = await diskFile(40 * PAGE);
  await using workload = await Workload.start();
  const mixed = await workload.anon("mixed", 64 * PAGE);
  const cold = await workload.file("cold", coldFile);
  const hot = await workload.file("hot", hotFile);
  const untouched = await workload.reserve("untouched", 100 * PAGE);
  await pageOut(workload, "mixed");
  await workload.write("mixed", { offset: 16 * PAGE, size: 16 * PAGE });
  // The TLB hides references to small hot memory until it needs the entries for
  // others.
  await workload.anon("large", 16 * MIB);
  await workload.hot("large");
  await workload.hot("hot");

  const pagesOf = async (range: string, observe: string[]) => {
    const { code, json, stderr } = await rcapJson<PagesReport>(
      ["inspect", `${workload.pid}`, "--pages", range, ...observe],
    );
    assertEquals(code, 0, stderr);
    assertKeys(json, [
      "version",
      "pid",
      "comm",
      "pagedata",
      "observedSeconds",
      "observationCost",
      "start",
      "end",
      "pageSize",
      "pages",
    ]);
    assertEquals([json.version, json.pid, json.pageSize], [
      1,
      workload.pid,
      PAGE,
    ]);
    return json;
  };
  const at = ({ start }: Region, bytes = 0) =>
    `0x${(start + BigInt(bytes)).toString(16)}`;

  const [whole, ...others] = await Promise.all(
    [mixed, hot, cold, untouched].map((region) => pagesOf(at(region), LONG)),
  );
  assertEquals([whole.start, whole.end], [at(mixed), at(mixed, mixed.size)]);
  assertEquals(whole.pages, "s".repeat(16) + "m".repeat(16) + "s".repeat(32));
  assertEquals(
    others.map(({ pages }) => pages),
    ["r".repeat(40), "-".repeat(40), ".".repeat(100)],
  );

  // Any address in a page means that page.
  const part = await pagesOf(
    `${at(mixed, 15 * PAGE + 100)}-${at(mixed, 17 * PAGE + 1)}`,
    NOT,
  );
  assertEquals([part.start, part.end], [
    at(mixed, 15 * PAGE),
    at(mixed, 18 * PAGE),
  ]);
  assertMatch(part.pages, /^s[-rm]{2}$/);
  const rest = await pagesOf(at(untouched, 98 * PAGE).slice(2), NOT);
  assertEquals(rest.pages, "..");

  // As text: several pages per line, with the address.
  const text = ["inspect", `${workload.pid}`, ...NOT, "--pages", at(untouched)];
  assertEquals(lines((await rcap(text)).stdout), [
    `${at(untouched)}  ${".".repeat(64)}`,
    `${at(untouched, 64 * PAGE)}  ${".".repeat(36)}`,
    "",
    ". not resident  - resident  r referenced  m modified  s swapped",
  ]);
  assertEquals(lines((await rcap([...text, "-H"])).stdout), [
    ".".repeat(64),
    ".".repeat(36),
  ]);

  const wrong: [range: string, message: string][] = [
    ["zz", `"zz" is not START or START-END`],
    [`${at(cold)}-`, "is not START or START-END"],
    [
      "0x1000",
      "no mapping holds address 0x1000; rcap inspect without --pages lists the mappings",
    ],
    [at(cold, cold.size), `no mapping holds address ${at(cold, cold.size)}`],
    [
      `${at(cold, PAGE)}-${at(cold)}`,
      `the end must be above the start, ${at(cold, PAGE)}, and at most ${
        at(cold, cold.size)
      }, where its mapping ends; it is ${at(cold)}`,
    ],
    [`${at(cold)}-${at(cold)}`, "the end must be above the start"],
    [
      `${at(cold)}-${at(cold, cold.size + 1)}`,
      "the end must be above the start",
    ],
  ];
  for (const [range, message] of wrong) {
    const { code, stdout, stderr } = await rcap([
      "inspect",
      `${workload.pid}`,
      ...NOT,
      "--pages",
      range,
    ]);
    assertEquals({ code, stdout }, { code: 2, stdout: "" }, range);
    assert(
      stderr.includes(`rcap: --pages: `) && stderr.includes(message),
      stderr,
    );
  }
});

Deno.test("too many pages are a usage error with a remedy", async () => {
  await using workload = await Workload.start();
  const { start } = await workload.reserve("vast", 60 * 1024 * GIB);
  const pagesOf = (range: string) =>
    rcap(["inspect", `${workload.pid}`, ...NOT, "-H", "--pages", range]);
  const hex = (address: bigint) => `0x${address.toString(16)}`;
  const most = `${hex(start)}-${hex(start + BigInt(64 * GIB))}`;
  const tooMany = [
    hex(start),
    `${hex(start)}-${hex(start + BigInt(64 * GIB + PAGE))}`,
    "0-ffffffffffffffff",
  ];
  for (const range of tooMany) {
    const { code, stdout, stderr } = await pagesOf(range);
    assertEquals({ code, stdout }, { code: 2, stdout: "" }, stderr);
    assertMatch(stderr, /rcap: --pages: .* can be shown at a time/);
    assertMatch(stderr, /give an end, at most --pages 0x[0-9a-f]+-0x/);
    if (range.startsWith("0x")) assert(stderr.includes(most), stderr);
  }
  // The maximum number is shown.
  const { code, stdout, stderr } = await pagesOf(most);
  assertEquals(code, 0, stderr);
  assertEquals(stdout.replaceAll(/[.\n]/g, ""), "");
  assertEquals(stdout.replaceAll("\n", "").length, 64 * GIB / PAGE);
});

Deno.test("the table for people and for scripts", async () => {
  await using workload = await Workload.start();
  const { start, size } = await workload.anon("cold", 3 * MIB / 2);
  const args = ["inspect", `${workload.pid}`, ...NOT];
  const address = `0x${start.toString(16)}`;

  const people = lines((await rcap(args)).stdout);
  assertMatch(
    people[0],
    /^START +SIZE +RSS +OWN +ANON +REF +MOD +SWAP +LOCKED +PERM +VERDICT +NAME$/,
  );
  const row = people.find((line) => line.startsWith(`${address} `));
  assertMatch(
    row ?? "",
    /^0x\w+ +1\.5M +1\.5M +1\.5M +1\.5M +\S+ +\S+ +0 +0 +rw-p +(cold|no-swap|hot|warm)( +\[anon:cold\])?$/,
  );
  assertMatch(
    people.at(-1) ?? "",
    new RegExp(`^total +\\d.* ${people.length - 3} mappings$`),
  );

  const scripts = lines(
    (await rcap([...args, "-H", "-p", "-o", "perm,start,size,rss,name"]))
      .stdout,
  );
  assertEquals(scripts.length, people.length - 3);
  assert(scripts.every((line) => line.split("\t").length === 5));
  const fields = scripts.map((line) => line.split("\t")).find(([, start]) =>
    start === address
  );
  assertEquals(fields?.slice(0, 4), ["rw-p", address, `${size}`, `${size}`]);
});

Deno.test("an observation that is too short causes a warning", async () => {
  await using workload = await Workload.start();
  const { stderr } = await rcap([
    "inspect",
    `${workload.pid}`,
    "--observe",
    "100ms",
  ]);
  assertEquals(
    stderr,
    "rcap: warning: observing for 0.1 s only: memory that is in use, if not at this moment, looks idle; 2 s or more are better\n",
  );
});

Deno.test("names stay on one line in the table, and are exact in JSON", async () => {
  using spaces = await diskFile(PAGE, "a  name with spaces");
  using newlines = await diskFile(PAGE, "two\nlines\tand a tab");
  using deleted = await diskFile(PAGE, "gone (deleted)");
  await using workload = await Workload.start();
  const regions: [Region, string][] = [
    [await workload.file("spaces", spaces), spaces.path],
    [await workload.file("newlines", newlines), newlines.path],
    [await workload.file("deleted", deleted), `${deleted.path} (deleted)`],
  ];
  Deno.removeSync(deleted.path);
  const report = await inspect(workload, NOT);
  const { stdout } = await rcap(["inspect", `${workload.pid}`, ...NOT, "-H"]);
  const rows = lines(stdout).map((line) => line.split("\t"));
  assertEquals(rows.length, report.mappings.length);
  assert(rows.every((row) => row.length === 12));
  for (const [region, name] of regions) {
    assertEquals(mappingOf(report, region).name, name);
    const row = rows.find(([start]) => BigInt(start) === region.start);
    assertEquals(row?.at(-1), name.replace("\n", "\\n").replace("\t", "\\t"));
  }
});

Deno.test("a user can inspect their own processes without root", async () => {
  await using workload = await Workload.start({ uid: SOMEONE });
  const cold = await workload.anon("cold", 2 * MIB);
  const hot = await workload.anon("hot", 16 * MIB);
  await workload.hot("hot");
  const options = { uid: SOMEONE };
  const report = await inspect(workload, LONG, options);
  assertEquals(report.observedSeconds, 2.5);
  const [coldMapping, hotMapping] = [cold, hot].map((region) =>
    mappingOf(report, region)
  );
  assertEquals([coldMapping.rss, coldMapping.referenced], [cold.size, 0]);
  assertEquals([hotMapping.rss, hotMapping.referenced], [hot.size, hot.size]);
  const range = `${coldMapping.start}-${coldMapping.end}`;
  const { code, stdout } = await rcap([
    "inspect",
    `${workload.pid}`,
    ...NOT,
    "-H",
    "--pages",
    range,
  ], options);
  assertEquals(code, 0);
  assertMatch(stdout, /^([-rm]{64}\n){8}$/);
});
