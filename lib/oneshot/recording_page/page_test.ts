/**
 * Tests of the page of a recording: its size, what it keeps, and that nothing of a
 * recording gets out of its data.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { libc } from "../../../ffi/libc.ts";
import { Folder } from "../../../tests/support/folder.ts";
import { operatingSystem } from "../../platform/open.ts";
import { formatSize } from "../../report/units.ts";
import { type RecordingReport, reportRecording } from "../recording_report.ts";
import { describeRecording } from "../recording_text.ts";
import { sizeText } from "./format.js";
import { recordingPage } from "./page.ts";
import { PAGE_LIMITS, type PageData, pageData } from "./page_data.ts";
import { type SyntheticSize, writeSynthetic } from "./testing.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();
const { files } = operatingSystem();

async function synthetic(size: SyntheticSize): Promise<RecordingReport> {
  using folder = new Folder();
  const path = folder.file("<title><b>.rcap");
  writeSynthetic(path, size);
  const { signal } = new AbortController();
  return await reportRecording({ files, path, signal }, {
    filter: {},
    limit: { sharePerMinute: 0.002 },
    ...PAGE_LIMITS,
  });
}

function textOf(page: Uint8Array): string {
  return new TextDecoder().decode(page);
}

/** The data that a page has, as a browser finds it. */
function dataOf(page: Uint8Array): PageData {
  const [, text] = /id="data">(.*?)<\/script>/s.exec(textOf(page)) ?? [];
  return JSON.parse(text);
}

Deno.test("an hour of 4 GiB makes a page of at most 1 MB", async () => {
  const report = await synthetic({
    pages: 2 ** 20,
    steps: 720,
    mappings: 1000,
    nameLength: 300,
  });
  assertEquals(report.timeline.length, 720);
  const page = await recordingPage(report);
  assert(page.length <= 1e6, `${page.length} bytes`);
  const { heat } = dataOf(page);
  assertEquals(
    Uint8Array.fromBase64(heat.used).length,
    heat.rows.length * heat.columns.length,
  );
  assert(heat.rows.length > 200 && heat.columns.length > 600);

  // Names whose characters take six bytes each, and a megabyte wherever a text fits.
  const long = "<".repeat(2 ** 20);
  const worst = await recordingPage({
    ...report,
    ...{ file: long, rcap: long, selectors: [long, long] },
    processes: Array.from({ length: 1000 }, () => ({
      ...report.processes[0],
      comm: long,
    })),
    mappings: report.mappings.map((one) => ({ ...one, name: long })),
    heat: {
      ...report.heat,
      rows: report.heat.rows.map((row, at) => ({ ...row, name: long + at })),
    },
  });
  assert(worst.length <= 1e6, `${worst.length} bytes`);
  const { mappings, mappingsLeft } = dataOf(worst);
  assert(mappings.length >= 50);
  assertEquals(mappings.length + mappingsLeft, report.mappings.length);
});

Deno.test("the data are those of the report, and names cannot end them", async () => {
  const report = await synthetic({
    pages: 3000,
    steps: 40,
    mappings: 6,
    nameLength: 1,
  });
  const bytes = await recordingPage(report);
  const page = textOf(bytes);
  // The data, and the script; no name adds or ends an element.
  assertEquals(page.match(/<script/g)?.length, 2);
  assertEquals(page.match(/<\/script/g)?.length, 2);
  assert(!page.includes("<img") && !page.includes("<!--<"));
  // No character that a reader of the file would not see.
  for (const character of ["\u202e", "\u2028", "\x1b"]) {
    assert(!page.includes(character));
  }
  const data = dataOf(bytes);
  assertEquals(data.summary, report.summary);
  assertEquals(data.sizing?.recommended, report.sizing?.recommended);
  for (
    const name of ["size", "workingSet", "majorFaults", "pressure"] as const
  ) {
    assertEquals(
      data.timeline[name],
      report.timeline.map((row) => row[name]),
    );
  }
  assertEquals(
    data.mappings.map(({ pageable }) => pageable),
    report.mappings.map(({ pageable }) => pageable),
  );
  assertEquals(data.sentences.length, describeRecording(report).length);
  const { heat } = data;
  const used = Uint8Array.fromBase64(heat.used);
  for (const [cell, share] of report.heat.used.entries()) {
    const kept = used[cell] === 0 ? 0 : (used[cell] - 1) / 254;
    assert(Math.abs(kept - share) <= 0.005, `${kept}, not ${share}`);
    assertEquals(used[cell] === 0, report.heat.resident[cell] === 0);
  }
});

Deno.test("a long recording becomes means of intervals", async () => {
  const report = await synthetic({
    pages: 64,
    steps: 1500,
    mappings: 1,
    nameLength: 1,
  });
  const { timeline, merged } = pageData(report);
  assertEquals(merged, 3);
  assertEquals(timeline.seconds.length, 500);
  assertEquals(timeline.seconds.slice(0, 2), [15, 30]);
  assertEquals(timeline.pressure.slice(0, 2), [0.02, 0.05]);
  const swapped = report.timeline.map(({ swapped }) => swapped);
  assertEquals(
    timeline.swapped[1],
    (swapped[3] + swapped[4] + swapped[5]) / 3,
  );
});

Deno.test("sizes read as they do elsewhere", () => {
  for (const bytes of [0, 1, 1023, 1024, 1_048_575, 2 ** 20, 5e9, 2 ** 50]) {
    assertEquals(sizeText(bytes), formatSize(bytes));
  }
});
