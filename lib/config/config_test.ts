/**
 * Tests of reading, checking, merging and printing the configuration.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { system } from "../platform/system_testing.ts";
import fc from "fast-check";
import { Errno, systemError } from "../../ffi/libc.ts";
import "../../ffi/testing.ts";
import { join, parseSelector, writtenAs } from "../collection/selectors.ts";
import { Users } from "../collection/users.ts";
import { UsageError } from "../errors.ts";
import { lines } from "../report/escape.ts";
import {
  type CapConfig,
  ConfigError,
  type ConfigReading,
  type DaemonConfig,
  describeProblem,
  fingerprint,
  parseConfig,
  readConfig,
  understandConfig,
} from "./config.ts";
import { configPaths, LEAST_CONFIG } from "./config_files.ts";
import { checkReport, describeCaps, renderConfig } from "./config_report.ts";

const GIB = 2 ** 30;
const totalMemory = 8 * GIB;
const seed = 20_260_101;

const users = new Users(system);
await users.lookUp(["user:root", "user:no such user"]);

/** A directory for the files of a configuration; removed when disposed. */
class Files implements Disposable {
  readonly directory = Deno.makeTempDirSync({ prefix: "rcap-" });
  readonly paths = configPaths(`${this.directory}/rcap.toml`);

  /** @param files contents by name; `rcap.d/…` are drop-ins. */
  constructor(files: Record<string, string | Uint8Array>) {
    for (const [name, contents] of Object.entries(files)) {
      this.write(name, contents);
    }
  }

  write(name: string, contents: string | Uint8Array): void {
    const path = `${this.directory}/${name}`;
    Deno.mkdirSync(path.replace(/[^/]*$/, ""), { recursive: true });
    if (typeof contents === "string") Deno.writeTextFileSync(path, contents);
    else Deno.writeFileSync(path, contents);
  }

  /** @param more replaces some of the system. */
  read(more: Partial<typeof system> = {}): ConfigReading {
    const surroundings = {
      totalMemory,
      users,
      system: { ...system, ...more },
    };
    const parsed = parseConfig(this.paths, { system });
    return understandConfig(this.paths, parsed, surroundings);
  }

  /** Returns a text without the directory. */
  relative(text: string): string {
    return text.replaceAll(`${this.directory}/`, "");
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.directory, { recursive: true });
  }
}

/** Returns the problems of files, a line each. */
function problemsOf(files: Record<string, string | Uint8Array>): string[] {
  using directory = new Files(files);
  const { config, problems } = directory.read();
  assertEquals(config === undefined, problems.length > 0);
  return problems.map((problem) =>
    directory.relative(describeProblem(problem))
  );
}

/** Asserts the problems of a single file. */
function assertProblems(text: string, ...expected: string[]): void {
  assertEquals(
    problemsOf({ "rcap.toml": text }),
    expected.map((problem) => `rcap.toml:${problem}`),
    text,
  );
}

/** A cap with a name, on four lines. */
function capNamed(name: string, maxRss = '"1G"'): string {
  return `[[cap]]\nname = "${name}"\nselect = ["user:root"]\nmax_rss = ${maxRss}\n`;
}

/** A valid file with lines in `[daemon]`, which begin at line 2. */
function daemonWith(lines: string): string {
  return `[daemon]\n${lines}\n${capNamed("a")}`;
}

/** A configuration without functions and places, for comparison. */
function comparable({ caps, ...daemon }: DaemonConfig) {
  return {
    ...daemon,
    caps: caps.map(({ name, select, maxRss }) => ({
      name,
      select: select.map(writtenAs),
      maxRss,
    })),
  };
}

Deno.test("a list in select joins selectors, and no name is taken for a separator", () => {
  using files = new Files({
    "rcap.toml": `[[cap]]
name = "a"
select = [["exe:/a + b", "user:root"], "comm:+", ["comm: + "]]
max_rss = "1G"
`,
  });
  const { config, problems } = files.read();
  assertEquals(problems, []);
  assertEquals(config?.caps[0].select.map(writtenAs), [
    ["exe:/a + b", "user:root"],
    "comm:+",
    "comm: + ",
  ]);
  assertEquals(
    checkReport(files.read()).config?.caps[0].select,
    [["exe:/a + b", "user:root"], "comm:+", "comm: + "],
  );
});

Deno.test("only a name that the name service has not answered is a temporary problem", async () => {
  const silent = new Users({
    uidOfUser: (name) =>
      Promise.reject(systemError(`look up user ${name}`, Errno.EAGAIN)),
  });
  const paths = (files: Files) => ({ ...files.paths });
  const alice =
    '[[cap]]\nname = "a"\nselect = ["user:alice"]\nmax_rss = "1G"\n';
  using one = new Files({ "rcap.toml": alice });
  const reading = await readConfig(paths(one), {
    totalMemory,
    users: silent,
    system,
  });
  assertEquals(
    reading.problems.map(describeProblem).map((text) => one.relative(text)),
    [
      'rcap.toml:3: selector "user:alice": the name service did not resolve user "alice" (look up user alice: Resource temporarily unavailable (EAGAIN)); try again, or write the uid with a plus sign, as in user:+1000, which needs no name service',
    ],
  );
  assertEquals([reading.config, reading.isPassing], [undefined, true]);
  assertEquals(new ConfigError(reading.problems, true).exitCode, 1);

  using both = new Files({ "rcap.toml": alice, "rcap.d/b.toml": "x = 1" });
  const other = await readConfig(paths(both), {
    totalMemory,
    users: silent,
    system,
  });
  assertEquals([other.problems.length, other.isPassing], [2, false]);
  assertEquals(new ConfigError(other.problems, false).exitCode, 2);

  // A user that was looked up before keeps the earlier answer.
  let fails = false;
  const failing = new Users({
    uidOfUser: () =>
      fails
        ? Promise.reject(systemError("look up user alice", Errno.EIO))
        : Promise.resolve(1234),
  });
  await readConfig(paths(one), {
    totalMemory,
    users: failing,
    system,
  });
  fails = true;
  const kept = await readConfig(paths(one), {
    totalMemory,
    users: failing,
    system,
  });
  assertEquals(
    kept.config?.caps[0].select.map((selector) =>
      selector.kind === "user" && selector.uid
    ),
    [1234],
  );
  assertEquals(kept.oldUsers, [
    'the name service did not resolve user "alice" (look up user alice: Input/output error (EIO)); uid 1234 is used, as before',
  ]);
});

Deno.test("drop-ins are next to the main file", () => {
  assertEquals(configPaths(), {
    file: "/etc/rcap.toml",
    dropIns: "/etc/rcap.d",
  });
  assertEquals(configPaths("/x/foo.toml").dropIns, "/x/foo.d");
  assertEquals(configPaths("foo.conf").dropIns, "foo.conf.d");
});

Deno.test("without settings, the defaults apply", () => {
  using files = new Files({ "rcap.toml": capNamed("a") });
  const { config, problems, warnings, settings } = files.read();
  assert(config);
  assertEquals(comparable(config), {
    sampleInterval: 5000,
    processInterval: 15_000,
    reportInterval: 5000,
    configInterval: 60_000,
    enforcementThreshold: 0,
    observationBudget: 0.01,
    policy: "coldest",
    pagedata: "auto",
    record: "",
    recordLimit: GIB,
    kubernetes: false,
    caps: [{ name: "a", select: ["user:root"], maxRss: GIB }],
  });
  assertEquals([problems, warnings, [...settings]], [[], [], []]);
});

Deno.test("drop-ins add caps in name order, and the last setting counts", () => {
  using files = new Files({
    "rcap.toml": `${capNamed("z")}[daemon]
      sample_interval = "1s"
      process_interval = "2m"
      enforcement_threshold = "12.5%"
      observation_budget = "0.5%"`,
    "rcap.d/20.toml": `daemon.pagedata = "smaps"\n${capNamed("b", '"25%"')}`,
    "rcap.d/10.toml":
      `daemon = { sample_interval = "500ms", pagedata = "pte" }\n${
        capNamed("c", "1_048_576")
      }`,
    "rcap.d/.30.toml": "not read",
    "rcap.d/40.toml.bak": "not read",
  });
  const { config, problems, files: read, settings } = files.read();
  assertEquals(problems, []);
  assert(config);
  assertEquals(read.map((path) => files.relative(path)), [
    "rcap.toml",
    "rcap.d/10.toml",
    "rcap.d/20.toml",
  ]);
  assertEquals(
    config.caps.map(({ name, maxRss, place }) => [
      name,
      maxRss,
      files.relative(place),
    ]),
    [
      ["z", GIB, "rcap.toml:1"],
      ["c", 2 ** 20, "rcap.d/10.toml:2"],
      ["b", totalMemory / 4, "rcap.d/20.toml:2"],
    ],
  );
  const { sampleInterval, processInterval, pagedata } = config;
  assertEquals([sampleInterval, processInterval, pagedata], [
    500,
    120_000,
    "smaps",
  ]);
  const { enforcementThreshold, observationBudget } = config;
  assertEquals([enforcementThreshold, observationBudget], [0.125, 0.005]);
  assertEquals(
    settings.get("sample_interval")?.map((place) => files.relative(place)),
    ["rcap.toml:6", "rcap.d/10.toml:1"],
  );
});

Deno.test("the main file may be missing if there are drop-ins", () => {
  using files = new Files({ "rcap.d/a.toml": capNamed("a") });
  assertEquals(files.read().config?.caps.length, 1);
  assertEquals(problemsOf({}), [
    `rcap.toml: it does not exist, and there is no drop-in in rcap.d; name another with --config, or write one, such as ${LEAST_CONFIG}`,
  ]);
  // The configuration that the message suggests is valid.
  assertEquals(problemsOf({ "rcap.toml": LEAST_CONFIG }), []);
});

Deno.test("a configuration without caps is valid, with a warning", () => {
  const expected = [
    "rcap.toml: it contains no cap, nor does a drop-in in rcap.d, so there is nothing to do; add a table [[cap]] with name, select and max_rss or idle, as rcap check --help shows",
  ];
  for (const text of ["", "# nothing\n", "cap = []", "[daemon]"]) {
    using files = new Files({ "rcap.toml": text });
    const { config, warnings } = files.read();
    const told = warnings.map(describeProblem).map((one) =>
      files.relative(one)
    );
    assertEquals([config?.caps, told], [[], expected], text);
  }
  // A file that is not TOML may contain caps.
  assertProblems(
    "[[",
    "1: malformed TOML (unterminated table-key): [[; put text in quotation marks and lists in brackets; see https://toml.io",
  );
});

Deno.test("unknown keys are reported with a guess", () => {
  assertProblems(
    `sample_interval = "5s"
max_rss = "1G"
foo.bar = 1
[deamon]
sample_interval = "5s"
[daemon]
sampleInterval = "5s"
max-rss = "1G"
foo = 1
[[caps]]
name = "b"
[[cap]]
name = "a"
select = ["user:root"]
max_rss = "1G"
max_rs = "1G"
policy = "coldest"
Select = []
toString = 1
__proto__ = { name = "b" }
`,
    '1: unknown key "sample_interval" outside of [daemon] and [[cap]]; it belongs below [daemon]',
    '2: unknown key "max_rss" outside of [daemon] and [[cap]]; it belongs below [[cap]]',
    '3: unknown key "foo" outside of [daemon] and [[cap]]; the tables are [daemon] and [[cap]]',
    '4: unknown key "deamon" outside of [daemon] and [[cap]]; did you mean [daemon]?',
    '7: unknown key "sampleInterval" in [daemon]; did you mean sample_interval?',
    '8: unknown key "max-rss" in [daemon]; did you mean max_rss, below [[cap]]?',
    '9: unknown key "foo" in [daemon]; the keys are sample_interval, process_interval, report_interval, config_interval, enforcement_threshold, observation_budget, policy, pagedata, record, record_limit, kubernetes',
    '10: unknown key "caps" outside of [daemon] and [[cap]]; did you mean [[cap]]?',
    '16: unknown key "max_rs" in [[cap]]; did you mean max_rss?',
    '17: unknown key "policy" in [[cap]]; it belongs below [daemon]',
    '18: unknown key "Select" in [[cap]]; did you mean select?',
    '19: unknown key "toString" in [[cap]]; the keys are name, select, max_rss, idle, max_refaults, max_pressure, min_rss, max_pageout_rate, max_swap_writes, only, priority, secondary_mmu, reclaim',
    '20: unknown key "__proto__" in [[cap]]; the keys are name, select, max_rss, idle, max_refaults, max_pressure, min_rss, max_pageout_rate, max_swap_writes, only, priority, secondary_mmu, reclaim',
  );
});

Deno.test("a cap says what to do with virtual machines", () => {
  const choices = ["", 'secondary_mmu = "leave"\n', 'secondary_mmu = "scan"\n'];
  const caps = choices.map((choice, at) => `${capNamed(`cap${at}`)}${choice}`);
  using files = new Files({ "rcap.toml": caps.join("") });
  const reading = files.read();
  assertEquals(
    reading.config?.caps.map(({ secondaryMmu }) => secondaryMmu),
    [undefined, "leave", "scan"],
  );
  assert(reading.config);
  assertEquals(
    renderConfig(reading.config, reading).match(/^secondary_mmu = .*$/gm),
    ['secondary_mmu = "leave"', 'secondary_mmu = "scan"'],
  );
  assertProblems(
    `${capNamed("a")}secondary_mmu = "scans"\n${
      capNamed("b")
    }secondary_mmu = true\n`,
    '5: secondary_mmu is "scans"; did you mean "scan"?',
    '10: secondary_mmu is the boolean true; use one of "leave", "scan"',
  );
});

Deno.test("a cap says whether what is shared is reclaimed", () => {
  const choices = ["", 'reclaim = "off"\n', 'reclaim = "auto"\n'];
  const caps = choices.map((choice, at) => `${capNamed(`cap${at}`)}${choice}`);
  using files = new Files({ "rcap.toml": caps.join("") });
  const reading = files.read();
  assertEquals(
    reading.config?.caps.map(({ reclaim }) => reclaim),
    [undefined, "off", "auto"],
  );
  assert(reading.config);
  assertEquals(
    renderConfig(reading.config, reading).match(/^reclaim = .*$/gm),
    ['reclaim = "off"', 'reclaim = "auto"'],
  );
  assertProblems(
    `${capNamed("a")}reclaim = true\n${capNamed("b")}reclaim = "aut"\n`,
    '5: reclaim is the boolean true; use one of "off", "auto"',
    '10: reclaim is "aut"; did you mean "auto"?',
  );
});

Deno.test("where nothing can be reclaimed, a warning says why", () => {
  const cap = (name: string, select: string) =>
    `[[cap]]\nname = "${name}"\nselect = ${select}\nmax_rss = "1G"\nreclaim = "auto"\n`;
  using files = new Files({
    "rcap.toml": cap("one", '["cgroup:/db"]') + cap("two", '["comm:db"]') +
      cap("three", '["cgroup:/db", "cgroup:/other"]') +
      cap("four", '[["cgroup:/db", "comm:db"]]') +
      cap("five", '["unit:db"]') +
      `${cap("six", '["unit:db"]')}only = "file"\n` +
      cap("seven", '["unit:db"]').replace('max_rss = "1G"', 'idle = "1h"'),
  });
  const { warnings, config } = files.read({
    whyNotReclaimable: (matches) =>
      matches("/db") ? "the kernel is too old" : undefined,
  });
  assert(config);
  const other =
    "the cap selects by more or by something else than one cgroup: or unit:";
  assertEquals(
    warnings.map(({ line, message }) => [line, message]),
    [
      [5, 'reclaim of cap "one" has no effect: the kernel is too old'],
      [10, `reclaim of cap "two" has no effect: ${other}`],
      [15, `reclaim of cap "three" has no effect: ${other}`],
      [20, `reclaim of cap "four" has no effect: ${other}`],
      [
        30,
        'reclaim of cap "six" has no effect: the kernel chooses the pages, and could not keep to only = "file"',
      ],
      [
        36,
        'reclaim of cap "seven" has no effect: the kernel is asked only while a group is over its cap, and this one has no max_rss',
      ],
    ],
  );
});

Deno.test("duplicate names are reported with both places", () => {
  const already = (place: string) =>
    `the name "a" is taken by the cap at ${place}; rename or remove one of them`;
  assertEquals(
    problemsOf({
      "rcap.toml": capNamed("a") + capNamed("b") + capNamed("a"),
      "rcap.d/x.toml": capNamed("a"),
    }),
    [
      `rcap.toml:10: ${already("rcap.toml:2")}`,
      `rcap.d/x.toml:2: ${already("rcap.toml:2")}`,
    ],
  );
});

Deno.test("a duration may be a number of seconds", () => {
  const text = `[daemon]
sample_interval = 5
process_interval = 2.5
report_interval = "7"
config_interval = "1m"
[[cap]]
name = "a"
select = ["user:root"]
idle = 600
`;
  using files = new Files({ "rcap.toml": text });
  const { config } = files.read();
  assertEquals(
    config && [
      config.sampleInterval,
      config.processInterval,
      config.reportInterval,
      config.configInterval,
      config.caps[0].idle,
    ],
    [5000, 2500, 7000, 60_000, 600_000],
  );
});

Deno.test("invalid intervals are reported", () => {
  const wrong: Record<string, string> = {
    '"0"': '"0" is out of range; it is at least 10ms and at most 24h',
    '"9ms"': '"9ms" is out of range; it is at least 10ms and at most 24h',
    '"25h"': '"25h" is out of range; it is at least 10ms and at most 24h',
    '"-5s"':
      '"-5s" is not a duration; write a number and a unit (500ms, 5s, 2m, 1h), or seconds (5)',
  };
  const keys = ["sample", "process", "report", "config"];
  for (const key of keys.map((key) => `${key}_interval`)) {
    for (const [value, problem] of Object.entries(wrong)) {
      assertProblems(daemonWith(`${key} = ${value}`), `2: ${key}: ${problem}`);
    }
    for (
      const [value, what] of [
        ["true", "the boolean true"],
        ["[]", "a list"],
        ["{}", "a table"],
        ["1979-05-27", "a date"],
      ]
    ) {
      assertProblems(
        daemonWith(`${key} = ${value}`),
        `2: ${key} is ${what}, not a duration; write one in quotation marks ("5s"), or a number of seconds`,
      );
    }
    for (const [value, text] of [["-1.5", "-1.5"], ["nan", "NaN"]]) {
      assertProblems(
        daemonWith(`${key} = ${value}`),
        `2: ${key}: "${text}" is not a duration; write a number and a unit (500ms, 5s, 2m, 1h), or seconds (5)`,
      );
    }
    assertProblems(
      daemonWith(`${key} = 86401`),
      `2: ${key}: "86401" is out of range; it is at least 10ms and at most 24h`,
    );
  }
});

Deno.test("other invalid settings are reported", () => {
  const wrong: Record<string, string> = {
    'enforcement_threshold = "101%"':
      'enforcement_threshold: "101%" is out of range; it is at least 0% and at most 100%',
    'enforcement_threshold = "-1%"':
      'enforcement_threshold: "-1%" is not a percentage; write a number from 0 to 100 with at most three decimals and a percent sign (85%)',
    "enforcement_threshold = 85":
      'enforcement_threshold is the integer 85, not a percentage; write it in quotation marks: "85%"',
    'observation_budget = "101%"':
      'observation_budget: "101%" is out of range; it is at least 0.01% and at most 100%',
    'observation_budget = "0%"':
      'observation_budget: "0%" is out of range; it is at least 0.01% and at most 100%',
    'observation_budget = "0.009%"':
      'observation_budget: "0.009%" is out of range; it is at least 0.01% and at most 100%',
    "observation_budget = 1":
      'observation_budget is the integer 1, not a percentage; write it in quotation marks: "1%"',
    "observation_budget = 0.01":
      'observation_budget is the number 0.01, not a percentage; write it in quotation marks: "1%"',
    "observation_budget = []":
      'observation_budget is a list, not a percentage; write it in quotation marks: "1%"',
    'policy = "clok"': 'policy is "clok"; did you mean "clock"?',
    'policy = "lru"': 'policy is "lru"; use one of "clock", "coldest"',
    "policy = 1": 'policy is the integer 1; use one of "clock", "coldest"',
    'pagedata = "PTE"': 'pagedata is "PTE"; did you mean "pte"?',
    'pagedata = ""': 'pagedata is ""; use one of "auto", "pte", "smaps"',
  };
  for (const [line, problem] of Object.entries(wrong)) {
    assertProblems(daemonWith(line), `2: ${problem}`);
  }
});

Deno.test("invalid sizes are reported", () => {
  const wrong: Record<string, string> = {
    '"10X"':
      'max_rss: "10X" is not a size; write bytes (1048576), a unit (512K, 1.5G, 2GiB) or a share of memory (25%)',
    '"0"':
      'max_rss: "0" is out of range; a size is at least 4K, below 8P, and at most 100%',
    '"101%"':
      'max_rss: "101%" is out of range; a size is at least 4K, below 8P, and at most 100%',
    "0":
      'max_rss: "0" is out of range; a size is at least 4K, below 8P, and at most 100%',
    "99999999999999999999":
      'max_rss: "99999999999999999999" is out of range; a size is at least 4K, below 8P, and at most 100%',
    "-1":
      'max_rss: "-1" is not a size; write bytes (1048576), a unit (512K, 1.5G, 2GiB) or a share of memory (25%)',
    "512":
      'max_rss: "512" is less than a page of memory, 4K; a number without a unit is bytes: did you mean "512M"?',
    '"3K"': 'max_rss: "3K" is less than a page of memory, 4K',
    "1.5":
      'max_rss is the number 1.5, not a size; write it in quotation marks: "1.5G"',
    "[]": 'max_rss is a list, not a size; write it in quotation marks: "2G"',
  };
  for (const [value, problem] of Object.entries(wrong)) {
    assertProblems(capNamed("a", value), `4: ${problem}`);
  }
});

Deno.test("invalid selectors are reported, each on its line", () => {
  assertProblems(
    `[[cap]]
name = "a"
select = [
  "user:no such user",
  "user:root",
  4242,
  "usr:x", "comm:[",
  ["pid:1", ["pid:2"]],
  [],
  ["comm:a", "+"],
]
max_rss = "1G"`,
    '4: selector "user:no such user": there is no user "no such user"; getent passwd lists the users',
    '6: a selector is the integer 4242, not text; write it in quotation marks: "pid:4242"',
    '7: "usr:x" is not a selector; use pid:N or N, tree:N, user:NAME, comm:GLOB, exe:GLOB, cgroup:GLOB, unit:NAME, container:NAME, pod:NS/NAME',
    '7: selector "comm:[": malformed glob "[" (nothing closes the bracket "["); quote a literal bracket or backslash with a backslash',
    '8: a selector is a list, not text; write it in quotation marks: "unit:nginx"',
    '9: a list in select is empty: it would select everything; list the selectors that must all match, as in [["exe:/usr/bin/postgres", "user:postgres"]]',
    '10: "+" is not between two selectors; it joins two selectors that must both match, as in exe:/usr/bin/postgres + user:postgres',
  );
  assertProblems(
    '[[cap]]\nname = "a"\nselect = []\nmax_rss = "1G"',
    '3: select is empty: the cap applies to no process; add selectors, as in ["unit:nginx"], or remove the cap',
  );
  assertProblems(
    '[[cap]]\nname = "a"\nselect = "user:root"\nmax_rss = "1G"',
    '3: select is "user:root", not a list; put selectors into brackets: ["user:root"]',
  );
});

Deno.test("what a suggestion says to write is then accepted", () => {
  const selecting = (select: string) =>
    `[[cap]]\nname = "a"\nselect = ${select}\nmax_rss = "1G"\n`;
  const named = (name: string) => capNamed("a").replace('"a"', name);
  /** Texts with a mistake, which § encloses, and what the suggestion puts there. */
  const cases: [suggestion: RegExp, ...texts: string[]][] = [
    [
      /write it in quotation marks: (".*")$/,
      ...["-1", "1", "5", "5000000", `${10n ** 80n}`, "0.5", "1.5", "1e-9"]
        .concat("1e9", "1e300", "-1.5", "nan", "-inf", "true", "1979-05-27")
        .flatMap((value) => [
          daemonWith(`enforcement_threshold = §${value}§`),
          daemonWith(`observation_budget = §${value}§`),
          named(`§${value}§`),
          selecting(`[§${value}§]`),
        ]),
      ...["0.5", "1.5", "4095.5", "4096.0", "1e9", "1e300", "-1.5", "nan", "{}"]
        .map((value) => capNamed("a", `§${value}§`)),
    ],
    [
      /write one in quotation marks \(("\w+")\), or a number of seconds$/,
      daemonWith("sample_interval = §true§"),
      capNamed("a").replace("max_rss", "idle = §[]§\nmax_rss"),
    ],
    [
      /a number and a unit \((\d+ms),.*, or seconds \(5\)$/,
      daemonWith('sample_interval = "§-1§"'),
    ],
    [
      /did you mean ("\d+M")\?$/,
      ...["1", "512", "4095", '"512"'].map((value) =>
        capNamed("a", `§${value}§`)
      ),
    ],
    [/write bytes \((\d+)\)/, capNamed("a", "§-1§")],
    [/a unit \((\d+K),/, capNamed("a", '"§10X§"')],
    [/less than a page of memory, (4K)$/, capNamed("a", '"§1K§"')],
    [/at least (4K), below 8P/, capNamed("a", '"§0§"')],
    [
      /put selectors into brackets: (\[.*\])$/,
      ...['"unit:nginx"', '"unit:a\\\\x2db"', '"exe:/\\\\*\\"\\t"', "1", "{}"]
        .map((value) => selecting(`§${value}§`)),
    ],
    [
      /put text in quotation marks and lists in brackets: (select = \[.*\])$/,
      ...["unit:nginx §# web", "exe:/a\\*b§", "comm:x§"].map((value) =>
        selecting(value).replace("select", "§select")
      ),
    ],
    [
      /put text in quotation marks: (name = .*)$/,
      capNamed("a").replace('name = "a"', "§name = a§"),
    ],
    [
      /put the text in single quotes: ('.*')$/,
      ...["unit:foo@bar\\x2dbaz", "exe:/\\[a\\]", "comm:\\a", 'comm:\\*\\"']
        .map((text) => selecting(`["1", §"${text}"§]`)),
      selecting('["1", ["pid:7", §"unit:foo@bar\\x2d*"§]]'),
    ],
  ];
  for (const [suggestion, ...texts] of cases) {
    for (const marked of texts) {
      const [before, wrong, after] = marked.split("§");
      using files = new Files({ "rcap.toml": before + wrong + after });
      const told = files.read().problems.map(describeProblem).join("\n");
      const [, right] = suggestion.exec(told) ?? [];
      assert(right !== undefined, `${marked}\n${told}`);
      files.write("rcap.toml", before + right + after);
      assertEquals(files.read().problems.map(describeProblem), [], told);
    }
  }
});

Deno.test("a name with an escape that TOML reads as something else is reported", () => {
  const selecting = (...selectors: string[]) =>
    `[[cap]]\nname = "a"\nselect = [\n${
      selectors.join(",\n")
    }\n]\nmax_rss = "1G"\n`;
  assertProblems(
    selecting(
      '"unit:foo@bar\\x2dbaz"',
      '["pid:1", "user:CORP\\bob"]',
      '"unit:it\'s\\e"',
      '"""unit:a\\x2db"""',
    ),
    "4: TOML reads \\x2d in double quotes as an escape, so the selector is \"unit:foo@bar-baz\"; put the text in single quotes: 'unit:foo@bar\\x2dbaz'",
    "5: TOML reads \\b in double quotes as an escape, so the selector is \"user:CORP\\x08ob\"; put the text in single quotes: 'user:CORP\\bob'",
    '6: TOML reads \\e in double quotes as an escape, so the selector is "unit:it\'s\\x1b"; write every backslash twice',
    "7: TOML reads \\x2d in double quotes as an escape, so the selector is \"unit:a-b\"; put the text in single quotes: 'unit:a\\x2db'",
  );
  assertProblems(selecting(
    "'unit:foo@bar\\x2dbaz'",
    "'''unit:foo@bar\\x2dbaz'''",
    '"unit:foo@bar\\\\x2dbaz"',
    '"user:\\u0072oot"',
    '"comm:a\\tb\\x2d"',
  ));
});

Deno.test("invalid names are reported", () => {
  const names = ["", "a b", "-a", ".a", "a/b", "a,b", "ä", "a\\nb"];
  for (const name of [...names, "x".repeat(65)]) {
    assertProblems(
      capNamed(name),
      `2: name: "${name}" cannot be the name of a cap; use up to 64 letters, digits and . _ @ -, the first a letter or digit`,
    );
  }
  for (const name of ["a", "7", "my-app_1.2@host", "x".repeat(64)]) {
    assertProblems(capNamed(name));
  }
});

Deno.test("values that are not tables and missing keys are reported", () => {
  assertProblems(
    '[cap]\nname = "a"',
    "1: cap is a table, not a list of tables; begin every cap with [[cap]], in two brackets",
  );
  assertProblems(
    `[[daemon]]\nfoo = 1\n${capNamed("a")}`,
    "1: daemon is a list, not a table; begin the table with [daemon]",
  );
  assertProblems(
    `daemon = 1979-05-27\n${capNamed("a")}`,
    "1: daemon is a date, not a table; begin the table with [daemon]",
  );
  assertProblems(
    "cap = [1, [], {}]",
    "1: the cap is the integer 1, not a table; begin it with [[cap]]",
    "1: the cap is a list, not a table; begin it with [[cap]]",
    "1: the cap has no name; every cap has name and select",
    "1: the cap has no select; every cap has name and select",
    '1: the cap has neither max_rss nor idle; add max_rss = "2G", idle = "10m", or both',
  );
});

Deno.test("unreadable files are reported along with problems of other files", () => {
  using files = new Files({
    "rcap.toml": daemonWith('policy = "lru"'),
    "rcap.d/b.toml": new TextEncoder().encode("# 1\n# \u00e9").slice(0, -1),
    "rcap.d/c.toml/file": "",
    "rcap.d/d.toml": "[[cap]]\nname = x\n",
  });
  Deno.symlinkSync("nowhere", `${files.directory}/rcap.d/a.toml`);
  const { config, problems } = files.read();
  assertEquals(config, undefined);
  assertEquals(
    problems.map((problem) => files.relative(describeProblem(problem))),
    [
      'rcap.toml:2: policy is "lru"; use one of "clock", "coldest"',
      "rcap.d/a.toml: it cannot be read: No such file or directory (ENOENT); replace it with a readable one, or remove it",
      "rcap.d/b.toml:2: these bytes are not UTF-8; find out its encoding (file rcap.d/b.toml) and convert it with iconv",
      "rcap.d/c.toml: it cannot be read: Is a directory (EISDIR); replace it with a readable one, or remove it",
      'rcap.d/d.toml:2: malformed TOML (unexpected character): name = x; put text in quotation marks: name = "x"',
    ],
  );
});

Deno.test("files that are far too large are not read", () => {
  const large = capNamed("a") + "#\n".repeat(2 ** 19);
  assertEquals(problemsOf({ "rcap.toml": large }), [
    "rcap.toml: it is larger than 1M; name the right file, or distribute the caps over drop-ins",
  ]);
  assertEquals(problemsOf({ "rcap.toml": large.slice(0, 2 ** 20) }), []);
  const paths = { file: "/dev/zero", dropIns: "/nowhere" };
  const { problems } = parseConfig(paths, { system }).sources;
  assertEquals(problems.map(({ file }) => file), ["/dev/zero"]);
});

Deno.test("an empty directory of drop-ins is fine, a file in its place is not", () => {
  using files = new Files({ "rcap.toml": capNamed("a") });
  Deno.mkdirSync(files.paths.dropIns);
  assertEquals(files.read().problems, []);
  Deno.removeSync(files.paths.dropIns);
  files.write("rcap.d", "");
  assertEquals(
    files.read().problems.map(({ file, line }) => [file, line]),
    [[files.paths.dropIns, 0]],
  );
});

Deno.test("a byte order mark and Windows line ends are ignored", () => {
  const text = `\ufeff${capNamed("a").replaceAll("\n", "\r\n")}foo = 1\r\n`;
  assertProblems(
    text,
    '5: unknown key "foo" in [[cap]]; the keys are name, select, max_rss, idle, max_refaults, max_pressure, min_rss, max_pageout_rate, max_swap_writes, only, priority, secondary_mmu, reclaim',
  );
});

Deno.test("settings that are valid but probably unintended cause warnings", () => {
  using files = new Files({
    "rcap.toml": `${daemonWith('enforcement_threshold = "100%"')}${
      capNamed("b", '"9G"')
    }`,
  });
  const { config, warnings } = files.read();
  assert(config);
  assertEquals(
    warnings.map((warning) => files.relative(describeProblem(warning))),
    [
      'rcap.toml:2: enforcement_threshold is 100%: no cap is ever enforced; lower it; "0%" enforces caps at all times',
      'rcap.toml:10: cap "b" of 9.0G is larger than the 8.0G of memory of this machine; it can never be exceeded; lower it',
    ],
  );
});

Deno.test("the error of a configuration has every problem on a line of its own", () => {
  using files = new Files({ "rcap.toml": "[[cap]]\nname = 'a\tb'\nfoo = 1" });
  const { problems } = files.read();
  const error = new ConfigError(problems);
  assert(error instanceof UsageError);
  assertEquals(error.exitCode, 2);
  const told = [error.message, ...error.details].join("\n");
  assertEquals(files.relative(told).split("\n"), [
    "the configuration has 4 problems:",
    "rcap.toml:1: the cap has no select; every cap has name and select",
    'rcap.toml:1: the cap has neither max_rss nor idle; add max_rss = "2G", idle = "10m", or both',
    'rcap.toml:2: name: "a\\tb" cannot be the name of a cap; use up to 64 letters, digits and . _ @ -, the first a letter or digit',
    'rcap.toml:3: unknown key "foo" in [[cap]]; the keys are name, select, max_rss, idle, max_refaults, max_pressure, min_rss, max_pageout_rate, max_swap_writes, only, priority, secondary_mmu, reclaim',
  ]);
  assertEquals(
    new ConfigError(problems.slice(0, 1)).message,
    "the configuration has one problem:",
  );
});

Deno.test("the fingerprint changes with every change of a file, and only then", () => {
  using files = new Files({ "rcap.toml": capNamed("a") });
  const seen = new Set([fingerprint(files.paths, system.files)]);
  const assertChanged = (what: string) => {
    const now = fingerprint(files.paths, system.files);
    assert(!seen.has(now), what);
    assertEquals(files.read().fingerprint, now, what);
    seen.add(now);
  };
  // The same contents, written again.
  files.write("rcap.toml", capNamed("a"));
  assert(seen.has(fingerprint(files.paths, system.files)));
  const { atime, mtime } = Deno.statSync(files.paths.file);
  files.write("rcap.toml", capNamed("b"));
  // Like a tool that restores times.
  Deno.utimeSync(files.paths.file, atime ?? 0, mtime ?? 0);
  assertChanged("same size, same time");
  files.write("rcap.d/a.toml", "");
  assertChanged("an empty drop-in");
  Deno.renameSync(
    `${files.paths.dropIns}/a.toml`,
    `${files.paths.dropIns}/b.toml`,
  );
  assertChanged("another name");
  Deno.removeSync(files.paths.file);
  assertChanged("no main file");
  files.write("rcap.d/b.toml", new Uint8Array([0xff]));
  assertChanged("what is no text");
  Deno.removeSync(files.paths.dropIns, { recursive: true });
  assertChanged("nothing");
  // A file that is not a drop-in does not count.
  files.write("rcap.d/notes.txt", "");
  assert(seen.has(fingerprint(files.paths, system.files)));
});

Deno.test("a valid configuration is summarized by file", () => {
  using files = new Files({
    "rcap.toml": "",
    "rcap.d/a.toml": capNamed("a") + capNamed("b"),
    "rcap.d/b.toml": capNamed("c"),
  });
  const reading = files.read();
  assert(reading.config);
  assertEquals(
    files.relative(describeCaps(reading.config, reading.files)),
    `rcap.toml: 0 caps
rcap.d/a.toml: 2 caps
rcap.d/b.toml: 1 cap
The configuration is valid, with 3 caps.
`,
  );
});

Deno.test("the merged result shows where everything comes from", () => {
  using files = new Files({
    "rcap.toml": daemonWith('sample_interval = "1s"'),
    "rcap.d/a.toml": `[daemon]\nsample_interval = "2000ms"\n${
      capNamed("b", '"0.5G"')
    }`,
  });
  const reading = files.read();
  assert(reading.config);
  assertEquals(
    files.relative(renderConfig(reading.config, reading)),
    `# merged from rcap.toml, rcap.d/a.toml

[daemon]
# rcap.d/a.toml:2, instead of rcap.toml:2
sample_interval = "2s"
# the default
process_interval = "15s"
# the default
report_interval = "5s"
# the default
config_interval = "1m"
# the default
enforcement_threshold = "0%"
# the default
observation_budget = "1%"
# the default
policy = "coldest"
# the default
pagedata = "auto"
# the default
record = ""
# the default
record_limit = "1G"
# the default
kubernetes = false

# rcap.toml:3
[[cap]]
name = "a"
select = ["user:root"]
max_rss = "1G"

# rcap.d/a.toml:3
[[cap]]
name = "b"
select = ["user:root"]
max_rss = "512M"
`,
  );
});

Deno.test("the report for scripts has sizes in bytes and times in seconds", () => {
  using files = new Files({ "rcap.toml": capNamed("a") });
  const { file } = files.paths;
  assertEquals(checkReport(files.read()), {
    version: 1,
    valid: true,
    files: [file],
    problems: [],
    warnings: [],
    config: {
      daemon: {
        sampleInterval: 5,
        processInterval: 15,
        reportInterval: 5,
        configInterval: 60,
        enforcementThreshold: 0,
        observationBudget: 0.01,
        policy: "coldest",
        pagedata: "auto",
        record: "",
        recordLimit: GIB,
        kubernetes: false,
      },
      caps: [{
        name: "a",
        select: ["user:root"],
        maxRss: GIB,
        place: `${file}:1`,
      }],
    },
  });
  files.write("rcap.toml", `${capNamed("a")}foo = 1`);
  assertEquals(checkReport(files.read()), {
    version: 1,
    valid: false,
    files: [file],
    problems: [{
      file,
      line: 5,
      message: 'unknown key "foo" in [[cap]]',
      suggestion:
        "the keys are name, select, max_rss, idle, max_refaults, max_pressure, min_rss, max_pageout_rate, max_swap_writes, only, priority, secondary_mmu, reclaim",
    }],
    warnings: [],
    config: null,
  });
});

/** Selectors with any text, including control characters. */
const globs = fc.tuple(
  fc.constantFrom("exe", "cgroup"),
  fc.oneof(
    fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 }),
    fc.string({
      unit: fc.integer({ min: 0, max: 0x9f }).map((code) =>
        String.fromCharCode(code)
      ),
      minLength: 1,
      maxLength: 10,
    }),
  ),
  // Brackets and backslashes would have to be well-formed, and a path has to begin
  // with a slash and end without one.
).map(([kind, text]) => `${kind}:*${text.replace(/[\\[\]]/g, "?")}*`);

const selectorWord = fc.oneof(
  fc.constantFrom(
    ...["1", "pid:7", "tree:1", "user:root", "user:+7", "comm:\n\x1b"],
    ...["unit:nginx", "unit:a@b\\x2dc", "unit:[!a]*"],
  ),
  globs,
).map((text) => parseSelector(text, users));

const capConfigs: fc.Arbitrary<CapConfig> = fc.record({
  name: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._@-]{0,10}$/),
  select: fc.array(
    fc.array(selectorWord, { minLength: 1, maxLength: 3 }).map(join),
    { minLength: 1, maxLength: 4 },
  ),
  maxRss: fc.oneof(
    fc.integer({ min: 4096, max: 2 ** 45 }),
    fc.integer({ min: 1, max: 1000 }).map((number) => number * 2 ** 20),
  ),
  place: fc.constantFrom("/etc/rcap.toml:1", "/etc/a\nb:2"),
});

const intervals = fc.oneof(
  fc.integer({ min: 10, max: 24 * 3_600_000 }),
  fc.integer({ min: 1, max: 1000 }).map((seconds) => seconds * 1000),
);

const configs: fc.Arbitrary<DaemonConfig> = fc.record({
  sampleInterval: intervals,
  processInterval: intervals,
  reportInterval: intervals,
  configInterval: intervals,
  enforcementThreshold: fc.nat(100_000).map((thousandths) =>
    Number((thousandths / 1000).toFixed(3)) / 100
  ),
  observationBudget: fc.integer({ min: 10, max: 100_000 }).map((thousandths) =>
    Number((thousandths / 1000).toFixed(3)) / 100
  ),
  policy: fc.constant("clock" as const),
  pagedata: fc.constantFrom("auto" as const, "pte" as const, "smaps" as const),
  record: fc.constantFrom("", "/var/lib/rcap/recordings", '/a "b"\\c'),
  recordLimit: fc.integer({ min: 2 ** 20, max: 2 ** 40 }),
  kubernetes: fc.boolean(),
  caps: fc.uniqueArray(capConfigs, {
    minLength: 1,
    maxLength: 5,
    selector: ({ name }) => name,
  }),
});

Deno.test("the printed configuration reads back as the same one", () => {
  using files = new Files({});
  fc.assert(
    fc.property(configs, (config) => {
      const origins = {
        files: ["/etc/rcap.toml", "/etc/rcap.d/odd\nname.toml"],
        settings: new Map([["policy", ["/etc/rcap.toml:3"]]]),
      };
      files.write("rcap.toml", renderConfig(config, origins));
      const { config: again, problems } = files.read();
      assertEquals(problems, []);
      assert(again);
      assertEquals(comparable(again), comparable(config));
    }),
    { seed, numRuns: 500 },
  );
});

/** A nearly valid file: a valid one with a few characters replaced. */
const nearly = fc.tuple(
  fc.constantFrom(
    daemonWith('sample_interval = "5s"'),
    `${daemonWith('policy = "clock"')}${capNamed("b", "1_000_000")}`,
    LEAST_CONFIG,
  ),
  fc.array(
    fc.tuple(
      fc.nat(200),
      fc.nat(4),
      fc.oneof(
        fc.constantFrom("[", "]", '"', "=", "\n", "{", ".", "cap", "1", "'"),
        fc.string({ unit: "binary", maxLength: 3 }),
      ),
    ),
    { maxLength: 4 },
  ),
).map(([text, edits]) =>
  edits.reduce(
    (text, [at, length, insert]) =>
      text.slice(0, at) + insert + text.slice(at + length),
    text,
  )
);

/** Values of every type in every place. */
const misplaced = fc.dictionary(
  fc.constantFrom("daemon", "cap", "foo", "__proto__"),
  fc.anything({
    key: fc.constantFrom(
      "name",
      "select",
      "max_rss",
      "policy",
      "x",
      "__proto__",
    ),
    maxDepth: 3,
    values: [
      fc.boolean(),
      fc.integer(),
      fc.double(),
      fc.constantFrom("1G", "5s", "user:root", "clock", ""),
      fc.string(),
    ],
  }),
).map((values) =>
  Object.entries(values).map(([key, value]) =>
    // Format it as TOML: tables with = between key and value, and no null values.
    `${key} = ${
      JSON.stringify(value, (_, inner) => inner ?? 0)?.replaceAll('":', '"=') ??
        0
    }\n`
  ).join("")
);

Deno.test("reading any files results in a configuration or in problems", () => {
  using files = new Files({});
  let valid = 0;
  fc.assert(
    fc.property(
      fc.oneof(nearly, misplaced, fc.string({ unit: "binary" })),
      fc.oneof(nearly, fc.uint8Array()),
      (main, dropIn) => {
        files.write("rcap.toml", main);
        files.write("rcap.d/a.toml", dropIn);
        const { config, problems } = files.read();
        assertEquals(config === undefined, problems.length > 0);
        if (config) valid++;
        const count = main.split("\n").length;
        for (const { file, line, message, suggestion } of problems) {
          if (file === files.paths.file) assert(line <= count, message);
          assert(message !== "" && suggestion !== "");
        }
        assertEquals(
          lines(...new ConfigError(problems).details).split("\n").length,
          problems.length + 1,
        );
      },
    ),
    { seed, numRuns: 2000 },
  );
  assert(!("name" in {}), "the prototype of all objects is as it was");
  assert(valid > 0, "some of them are valid");
});

Deno.test("the example of the documentation is valid", () => {
  const example = new URL("../../docs/rcap.toml.example", import.meta.url);
  using files = new Files({ "rcap.toml": Deno.readTextFileSync(example) });
  const { config, problems, warnings, settings } = files.read();
  assertEquals([problems, warnings], [[], []]);
  assert(config);
  // The example shows every setting with its default.
  assertEquals(settings.size, 11);
  files.write("rcap.toml", capNamed("a"));
  const { config: defaults } = files.read();
  assertEquals({ ...config, caps: [] }, { ...defaults, caps: [] });
});

Deno.test("where and how much is recorded", () => {
  using files = new Files({
    "rcap.toml": `[daemon]
record = "/var/lib/rcap/recordings/"
record_limit = "64M"
${capNamed("a")}`,
  });
  const { config } = files.read();
  assertEquals(config?.record, "/var/lib/rcap/recordings");
  assertEquals(config?.recordLimit, 2 ** 26);
  for (
    const [setting, words] of [
      ['record = "recordings"', "not the path of a directory"],
      ["record = true", "not the path of a directory"],
      ['record_limit = "100K"', 'record_limit is "100K"'],
    ]
  ) {
    using wrong = new Files({
      "rcap.toml": `[daemon]\n${setting}\n${capNamed("a")}`,
    });
    const [problem] = wrong.read().problems;
    assert(problem.message.includes(words), problem.message);
  }
});

Deno.test("whether pods have caps by their annotations", () => {
  using files = new Files({ "rcap.toml": "[daemon]\nkubernetes = true\n" });
  const { config, problems, warnings } = files.read();
  assertEquals([problems, warnings], [[], []]);
  assertEquals(config?.kubernetes, true);
  using wrong = new Files({ "rcap.toml": '[daemon]\nkubernetes = "yes"\n' });
  assertEquals(wrong.read().problems[0]?.message, 'kubernetes is "yes"');
});
