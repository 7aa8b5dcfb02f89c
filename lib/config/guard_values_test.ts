/**
 * Tests of the keys of a cap besides its size: parsed, checked, printed and warned of.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import "../../ffi/testing.ts";
import { Users } from "../collection/users.ts";
import { system } from "../platform/system_testing.ts";
import { type ConfigReading, describeProblem, readConfig } from "./config.ts";
import { configPaths } from "./config_files.ts";
import { checkReport, renderConfig } from "./config_report.ts";

/** Reads a configuration of one file. */
async function read(
  text: string,
  more: { swapDisk?: string | null; missingCapKeys?: readonly string[] } = {},
): Promise<ConfigReading & { told: string[]; warned: string[] }> {
  const directory = Deno.makeTempDirSync({ prefix: "rcap-" });
  try {
    Deno.writeTextFileSync(`${directory}/rcap.toml`, text);
    const { missingCapKeys, swapDisk } = more;
    const reading = await readConfig(configPaths(`${directory}/rcap.toml`), {
      totalMemory: 8 * 2 ** 30,
      swapDisk,
      users: new Users(system),
      system: { ...system, missingCapKeys },
    });
    const words = (all: ConfigReading["problems"]) =>
      all.map((one) => describeProblem(one).replaceAll(`${directory}/`, ""));
    return {
      ...reading,
      told: words(reading.problems),
      warned: words(reading.warnings),
    };
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

/** A cap on three lines, and more from line 4 on. */
const capWith = (...more: string[]) =>
  `[[cap]]\nname = "a"\nselect = ["pid:1"]\n${more.join("\n")}\n`;

const ALL = capWith(
  'max_rss = "2G"',
  'idle = "90s"',
  'max_refaults = "0.2%/min"',
  'max_pressure = "1.5%"',
  'min_rss = "1G"',
  'max_pageout_rate = "64M/s"',
  'max_swap_writes = "20G/day"',
  'only = "anon"',
  "priority = 80",
);

Deno.test("all keys of a cap are read, and printed so that they read back", async () => {
  const reading = await read(ALL);
  const { config, told } = reading;
  assertEquals(told, []);
  assert(config);
  const { select: _, place: _place, ...cap } = config.caps[0];
  assertEquals(cap, {
    name: "a",
    maxRss: 2 ** 31,
    idle: 90_000,
    maxRefaults: { sharePerMinute: 0.002 },
    maxPressure: 0.015,
    minRss: 2 ** 30,
    maxPageoutRate: { bytes: 2 ** 26, per: 1000 },
    maxSwapWrites: { bytes: 20 * 2 ** 30, per: 86_400_000 },
    only: "anon",
    priority: 80,
  });
  const printed = String(renderConfig(config, reading));
  const again = await read(printed);
  assertEquals(again.told, []);
  const { select: _again, place: _there, ...same } = again.config!.caps[0];
  assertEquals(same, cap);
  const report = checkReport(reading).config?.caps[0];
  assertEquals(report?.idle, 90);
  assertEquals(report?.maxPageoutRate, { bytes: 2 ** 26, seconds: 1 });
  assertEquals(report?.maxSwapWrites, { bytes: 20 * 2 ** 30, seconds: 86_400 });
});

Deno.test("a cap needs max_rss or idle, and only what is set is there", async () => {
  const { config } = await read(capWith('idle = "10m"'));
  assertEquals(Object.keys(config!.caps[0]), [
    "name",
    "select",
    "idle",
    "place",
  ]);
  assertEquals((await read(capWith())).told, [
    'rcap.toml:1: the cap has neither max_rss nor idle; add max_rss = "2G", idle = "10m", or both',
  ]);
});

Deno.test("a value that is not valid is reported with what would be", async () => {
  const cases: [line: string, problem: string][] = [
    [
      "idle = true",
      'idle is the boolean true, not a duration; write one in quotation marks ("10m"), or a number of seconds',
    ],
    [
      "idle = 0.5",
      'idle: "0.5" is out of range; it is at least 1s and at most 168h',
    ],
    [
      'idle = "0"',
      'idle: "0" is out of range; it is at least 1s and at most 168h',
    ],
    [
      'idle = "soon"',
      'idle: "soon" is not a duration; write a number and a unit (500ms, 5s, 2m, 1h), or seconds (5)',
    ],
    [
      'max_refaults = "5%/h"',
      'max_refaults: "5%/h" is not a limit on refaults; write a share of the working set in a minute ("0.2%/min") or pages in a second ("50/s")',
    ],
    [
      "max_refaults = 50",
      'max_refaults is the integer 50, not a limit on refaults; write it in quotation marks: "50/s"',
    ],
    [
      "max_pressure = 1",
      'max_pressure is the integer 1, not a percentage; write it in quotation marks: "1%"',
    ],
    [
      'max_pressure = "101%"',
      'max_pressure: "101%" is out of range; it is at least 0% and at most 100%',
    ],
    [
      "min_rss = 1.5",
      'min_rss is the number 1.5, not a size; write it in quotation marks: "1.5G"',
    ],
    [
      'min_rss = "3G"',
      "min_rss is larger than max_rss: the cap could never be met; lower it, or raise max_rss",
    ],
    [
      'max_pageout_rate = "64M"',
      'max_pageout_rate: "64M" is not an amount in a time; write a size, a slash and s or min ("64M/s")',
    ],
    [
      "max_pageout_rate = 64",
      'max_pageout_rate is the integer 64, not an amount in a time; write it in quotation marks: "64M/s"',
    ],
    [
      'max_swap_writes = "1G/s"',
      'max_swap_writes: "1G/s" is not an amount in a time; write a size, a slash and day or h ("64M/day")',
    ],
    ['only = "files"', 'only is "files"; did you mean "file"?'],
    [
      "priority = 0",
      "priority is the integer 0; write a whole number from 1 to 100, without quotation marks",
    ],
    [
      'priority = "high"',
      'priority is "high"; write a whole number from 1 to 100, without quotation marks',
    ],
    [
      "priority = 101",
      "priority is the integer 101; write a whole number from 1 to 100, without quotation marks",
    ],
  ];
  for (const [line, problem] of cases) {
    const { told } = await read(capWith('max_rss = "2G"', line));
    assertEquals(told, [`rcap.toml:5: ${problem}`], line);
  }
});

Deno.test("policy clock beside idle draws a warning, coldest and no policy do not", async () => {
  const withPolicy = async (policy: string) =>
    (await read(`${capWith('idle = "10m"')}[daemon]\npolicy = "${policy}"\n`))
      .warned;
  assertEquals(await withPolicy("clock"), [
    'rcap.toml:4: cap "a" has idle, so its policy is coldest, although policy is "clock": clock does not know for how long memory was idle; remove idle, or set policy = "coldest" for all caps',
  ]);
  assertEquals(await withPolicy("coldest"), []);
  assertEquals((await read(capWith('idle = "10m"'))).warned, []);
});

Deno.test("swap on a disk draws a warning for a cap that may write to it without a limit", async () => {
  const swapDisk = "/dev/mmcblk0p2";
  const warned = async (...more: string[]) =>
    (await read(capWith('max_rss = "2G"', ...more), { swapDisk })).warned;
  assertEquals(await warned(), [
    'rcap.toml:2: cap "a" has no max_swap_writes, and swap is on a disk (/dev/mmcblk0p2), which writes wear out; add max_swap_writes = "20G/day" or what the disk endures, or swap to zram',
  ]);
  const unknown = await read(capWith('max_rss = "2G"'), { swapDisk: null });
  assertEquals(unknown.warned, [
    'rcap.toml:2: cap "a" has no max_swap_writes, and swap may be on a disk, which writes wear out (/proc/swaps cannot be read); add max_swap_writes = "20G/day" or what the disk endures, or swap to zram',
  ]);
  assertEquals(await warned('max_swap_writes = "20G/day"'), []);
  assertEquals(await warned('only = "file"'), []);
});

Deno.test("a key that the system cannot hold is refused", async () => {
  const missingCapKeys = ["max_pressure"];
  const { told } = await read(
    capWith('max_rss = "2G"', 'max_pressure = "1%"', 'min_rss = "1G"'),
    { missingCapKeys },
  );
  assertEquals(told, [
    "rcap.toml:5: max_pressure does not work on this system; remove it",
  ]);
});

Deno.test("the example of a configuration shows every key of a cap", () => {
  const example = Deno.readTextFileSync(
    new URL("../../docs/rcap.toml.example", import.meta.url),
  );
  for (const line of ALL.split("\n").slice(3, -1)) {
    assertStringIncludes(example, `${line.split(" ")[0]} = `);
  }
});

Deno.test("rcap finds the idle time where the system tells refaults", async () => {
  const auto = capWith('idle = "auto"');
  const reading = await read(auto);
  const { config } = reading;
  assertEquals(config?.caps[0].idle, "auto");
  assertEquals(checkReport(reading).config?.caps[0].idle, "auto");
  assertStringIncludes(
    renderConfig(config!, reading),
    'idle = "auto"',
  );
  const { problems } = await read(auto, { missingCapKeys: ["max_refaults"] });
  assertStringIncludes(
    problems[0].message,
    'idle is "auto", which does not work on this system',
  );
});
