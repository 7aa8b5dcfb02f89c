/**
 * Tests of what `rcap report` and `rcap size --from` find in recordings.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { parseSelector } from "../collection/selectors.ts";
import { RcapError } from "../errors.ts";
import {
  FakeClock,
  FakePlatform,
  hot,
  PAGE,
  rounds,
  TICK,
  together,
} from "../platform/fake_testing.ts";
import { operatingSystem } from "../platform/open.ts";
import { RecordingWriter } from "../recording/writer.ts";
import {
  machineFigures,
  noFigures,
  PROCESS_FIGURES,
  type RecordingInfo,
} from "../recording/records.ts";
import { MemoryFile, withFile, withRecording } from "./record_testing.ts";
import { sizesOfRecording } from "./recorded_sizes.ts";
import { type RecordingReport, reportRecording } from "./recording_report.ts";
import { csvOf, describeRecording, drawHeat } from "./recording_text.ts";
import { findSizes } from "./size.ts";
import { sizeReport } from "./size_report.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();
const { files } = operatingSystem();
const { signal } = new AbortController();

const LIMIT = { sharePerMinute: 0.002 };

/** What a recording that is written without a platform says of itself. */
const INFO: RecordingInfo = {
  rcap: "1.2.3",
  startedAt: 1_700_000_000,
  interval: 5,
  selectors: ["comm:one"],
  pagedata: "pte",
  isAnonymous: false,
  pageIns: [],
};

/** The memory of its machine. */
const MEMORY = {
  totalMemory: 2 ** 34,
  availableMemory: 2 ** 33,
  totalSwap: 0,
  freeSwap: 0,
};

/** A machine with a process of 1000 pages in use, 600 used in rounds, and 2000 never. */
function machine(): FakePlatform {
  const platform = new FakePlatform(new FakeClock());
  const one = platform.start(
    "one",
    together(hot("hot"), rounds("warm", 30)),
  );
  one.fill("hot", 1000);
  one.fill("warm", 600);
  one.fill("cold", 2000);
  return platform;
}

function report(
  path: string,
  filter: Parameters<typeof reportRecording>[1]["filter"] = {},
): Promise<RecordingReport> {
  return reportRecording({ files, path, signal }, {
    filter,
    limit: LIMIT,
    heatRows: 40,
    heatColumns: 60,
  });
}

Deno.test("a report has what a process is known to do", async () => {
  await withRecording(machine(), async (path) => {
    const found = await report(path);
    assertEquals([found.steps, found.seconds, found.ended], [120, 600, "done"]);
    const { summary, timeline, mappings, heat, processes } = found;
    assertEquals(summary.size, 3600 * PAGE);
    assertEquals(summary.neverUsed, 2000 * PAGE);
    assertEquals(timeline.length, 120);
    assertEquals(timeline[119].workingSet, 1600 * PAGE);
    // What is used within five seconds: the hot pages, and a sixth of the round.
    assert(Math.abs(summary.meanUsed / PAGE - 1100) < 20);
    assertEquals(processes.map(({ comm }) => comm), ["one"]);
    assertEquals(mappings.map(({ neverUsed }) => neverUsed / PAGE), [2000]);
    assertEquals(heat.columns.length, 60);
    const width = heat.columns.length;
    const share = (row: number) => {
      const cells = heat.used.slice(row * width, (row + 1) * width);
      return cells.reduce((sum, cell) => sum + cell, 0) / width;
    };
    const shares = heat.rows.map((_, row) => share(row));
    // Three regions one below the other: in use always, in turns, and never.
    assert(shares[0] > 0.95, `${shares}`);
    assert(shares[shares.length - 1] < 0.05, `${shares}`);
    assert(shares.some((share) => share > 0.1 && share < 0.3), `${shares}`);
    const bytes = heat.rows.reduce((sum, row) => sum + row.bytes, 0);
    assert(bytes >= 3600 * PAGE && bytes < 3700 * PAGE, `${bytes / PAGE}`);
  });
});

Deno.test("a recording predicts what an observation of the same process does", async () => {
  const platform = machine();
  const log = { warn() {}, info() {}, debug() {} };
  const watched = sizeReport(
    await platform.clock.finish(
      findSizes({
        selectors: [parseSelector("comm:one")],
        observation: 600_000,
        signal: new AbortController().signal,
        log,
        platform,
        clock: platform.clock,
      }),
      TICK,
    ),
    { limit: LIMIT, pagedata: "pte", memory: platform.memory() },
  );
  await withRecording(machine(), async (path) => {
    const [seen] = watched.groups;
    const { groups: [found] } = await sizesOfRecording(
      { files, path, signal },
      { limit: LIMIT },
    );
    for (const name of ["size", "neverUsed", "fixed", "workingSet"] as const) {
      assert(
        Math.abs(found[name] - seen[name]) <= seen[name] * 0.05,
        `${name}: ${found[name]}, not ${seen[name]}`,
      );
    }
    const [a, b] = [seen.recommended?.cap, found.recommended?.cap];
    assert(a && b && Math.abs(a - b) <= a * 0.05, `${b}, not ${a}`);
    for (const pages of [1200, 1400, 1800]) {
      const at = (curve: typeof seen.curve) =>
        curve.find(({ cap }) => cap >= pages * PAGE)?.refaults ?? -1;
      const [live, played] = [at(seen.curve), at(found.curve)];
      assert(
        Math.abs(live - played) <= Math.max(live * 0.15, 0.5),
        `${played}, not ${live}, at ${pages} pages`,
      );
    }
    const each = await sizesOfRecording({ files, path, signal }, {
      limit: LIMIT,
      groupOf: ({ source }) => source.identity.comm,
    });
    assertEquals(each.groups.map(({ name }) => name), ["one"]);
  });
});

Deno.test("a part of the time, of the processes, and of the mappings", async () => {
  const platform = machine();
  platform.start("one", hot("small")).fill("small", 10);
  await withRecording(platform, async (path) => {
    assertEquals((await report(path)).summary.processes, 2);
    const part = await report(path, { from: 100, to: 200 });
    assertEquals(part.timeline.map(({ seconds }) => seconds), [
      ...Array.from({ length: 20 }, (_, at) => 105 + at * 5),
    ]);
    const small = await report(path, {
      process: ({ mappings }) => mappings.length === 1,
    });
    assertEquals(small.summary.size, 10 * PAGE);
    const cold = await report(path, { mapping: ({ units }) => units === 2000 });
    assertEquals(cold.summary.size, 2000 * PAGE);
    assertEquals(cold.summary.largestWorkingSet, 0);
    await assertRejects(
      () => report(path, { process: () => false }),
      RcapError,
      "has no process that --process selects",
    );
    await assertRejects(
      () => report(path, { mapping: () => false }),
      RcapError,
      "has no mapping that --mapping selects",
    );
    await assertRejects(
      () => report(path, { from: 1000 }),
      RcapError,
      "it is 300 s long",
    );
  }, 5);
});

Deno.test("a recording whose processes had all exited says so", async () => {
  const platform = new FakePlatform(new FakeClock());
  const one = platform.start("one", (process, seconds) => {
    process.touch("hot");
    if (seconds > 2) process.exit();
  });
  one.fill("hot", 10);
  await withRecording(platform, async (path) => {
    await assertRejects(
      () => report(path),
      RcapError,
      "has no process: each had exited",
    );
  });
});

Deno.test("of many processes that have left, the largest are listed", async () => {
  const file = new MemoryFile();
  const writer = new RecordingWriter((bytes) => file.write(bytes), {
    ...INFO,
    interval: 1,
  });
  const count = 2500;
  let id: number | undefined;
  for (let step = 0; step <= count; step++) {
    writer.beginStep(step + 1, machineFigures(MEMORY, {}));
    if (id !== undefined) writer.leave(id, "exited");
    id = writer.join({ pid: step + 1, startTime: 0, comm: "one", uid: 0 });
    const size = (step % 100 + 1) * PAGE;
    writer.figures(
      id ?? -1,
      { ...noFigures(PROCESS_FIGURES), isRead: 1, size },
      [],
    );
    writer.endStep();
  }
  writer.end("done");
  await withFile(file, async (path) => {
    const { summary, processes } = await report(path);
    assertEquals(summary.processes, count + 1);
    assertEquals(processes.length, 1000);
    assert(processes.every(({ size }) => size > 50 * PAGE));
    assertEquals(processes[0].size, 100 * PAGE);
    assert(processes[0].leftAt !== null);
  });
});

Deno.test("the summary, the map and the values that a report prints", async () => {
  await withRecording(machine(), async (path) => {
    const found = await report(path);
    assertEquals(describeRecording(found).slice(0, 4), [
      "1 process for 10m0s, every 5s.",
      "Size: 14.1M on average, 14.1M at most; 14.1M of it could be paged out.",
      "Working set: 6.2M was used within 2m0s, on average; 4.3M within an interval.",
      "Not used at all: 7.8M in 10m0s.",
    ]);
    const map = drawHeat(found.heat, { color: false, unicode: false });
    const rows = map.split("\n").filter((line) => line.startsWith("|"));
    assertEquals(rows.length, found.heat.rows.length);
    assertEquals(rows[0].slice(0, 62), `|${"#".repeat(60)}|`);
    assertEquals(rows[rows.length - 1].slice(0, 62), `|${".".repeat(60)}|`);
    const [header, first] = csvOf(found).split("\n");
    assertEquals(header.split(",").length, first.split(",").length);
    assert(first.startsWith("5,1,14745600,14745600,"), first);
  });
});

Deno.test("a recording that was cut off says so", async () => {
  await withRecording(machine(), async (path) => {
    const bytes = Deno.readFileSync(path);
    const most = Math.floor(bytes.length * 0.7);
    Deno.writeFileSync(path, bytes.subarray(0, most));
    const found = await report(path);
    assertEquals(found.ended, null);
    assert(found.cutAt !== null && found.cutAt <= most);
    assert(found.steps > 40 && found.steps < 120);
    const text = describeRecording(found).at(-1);
    assert(text?.startsWith(`The recording was cut off at byte`), text);
  });
});

/** Runs a step with the path of a recording of a process without memory. */
async function withSteps(
  times: Iterable<number>,
  step: (path: string) => Promise<void>,
): Promise<void> {
  const path = Deno.makeTempFileSync({ prefix: "rcap-" });
  using file = Deno.openSync(path, { write: true });
  const writer = new RecordingWriter((bytes) => file.writeSync(bytes), INFO);
  let id: number | undefined;
  for (const seconds of times) {
    writer.beginStep(seconds, machineFigures(MEMORY, { pressure: 0 }));
    id ??= writer.join({ pid: 1, startTime: 2, comm: "one", uid: 0 });
    const figures = { ...noFigures(PROCESS_FIGURES), rss: 4096, isRead: 1 };
    writer.figures(id ?? 0, figures, []);
    writer.endStep();
  }
  writer.end("done");
  try {
    await step(path);
  } finally {
    Deno.removeSync(path);
  }
}

Deno.test("minutes without a reading take neither memory nor time", async () => {
  const years = 9 * 365 * 86_400;
  await withSteps([5, 10, years, years + 5], async (path) => {
    const found = await report(path);
    assertEquals([found.steps, found.seconds], [4, years + 5]);
  });
});

Deno.test("a signal ends a report of a long recording", async () => {
  const times = Array.from({ length: 100_000 }, (_, at) => at * 5);
  await withSteps(times, async (path) => {
    const interruption = new AbortController();
    const work = sizesOfRecording(
      { files, path, signal: interruption.signal },
      { limit: LIMIT },
    );
    // As soon as somebody else has a turn.
    setTimeout(() => interruption.abort(new RcapError("interrupted")), 0);
    await assertRejects(() => work, RcapError, "interrupted");
  });
});
