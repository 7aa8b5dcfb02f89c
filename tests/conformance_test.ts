/**
 * Runs every golden case through the scan loop that the commands use and compares
 * everything that a case expects.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import {
  endOffset,
  firstOffset,
  type Pagedata,
} from "../lib/memory/pagedata.ts";
import { ScanCollection, ScannedProcess } from "../lib/scanner/collection.ts";
import { scan } from "../lib/scanner/scan.ts";
import { IllumosGoldenMemory } from "./support/golden_illumos.ts";
import {
  type GoldenCase,
  type GoldenExpected,
  type GoldenFile,
  GoldenMemory,
  hex,
} from "./support/golden_platform.ts";
import { say } from "./support/say.ts";

const folder = Deno.env.get("RCAP_VECTORS") ??
  new URL("vectors", import.meta.url).pathname;

/** Runs one case; a failing comparison names the case and the scan. */
async function runCase(
  goldenCase: GoldenCase,
  Memory: typeof GoldenMemory,
): Promise<void> {
  const pageouts: GoldenExpected["pageouts"] = [];
  const memories = goldenCase.processes.map((process) =>
    new Memory(process, pageouts)
  );
  const collection = new ScanCollection(
    memories.map((memory) => new ScannedProcess(memory)),
  );
  for (
    const [index, { excessKb, processes, expected }] of goldenCase.scans
      .entries()
  ) {
    pageouts.length = 0;
    for (const memory of memories) {
      memory.begin(processes.find(({ pid }) => pid === memory.pid)!);
    }
    await scan(collection, { excess: excessKb * 1024 });
    assertEquals(
      { ...stateOf(collection), pageouts: [...pageouts] },
      expected,
      `case with seed ${goldenCase.seed}, scan ${index}`,
    );
  }
}

/** The state of a collection in the form of `expected`. */
function stateOf(collection: ScanCollection): Omit<GoldenExpected, "pageouts"> {
  const { victim, resumeAddress, statistics, processes } = collection;
  return {
    victim: victim?.pid ?? 0,
    resumeAddress: resumeAddress === undefined ? null : hex(resumeAddress),
    attemptedKb: statistics.attempted / 1024,
    effectiveKb: statistics.effective / 1024,
    scanCount: statistics.scanCount,
    ineffective: statistics.ineffective,
    processes: processes.map((process) => ({
      pid: process.pid,
      unscannable: process.unscannable,
      unreferencedKb: process.unreferenced / 1024,
      ignored: process.ignored.entries().map((
        [start, bytes],
      ) => [hex(start), bytes]),
      bits: process.pagedata ? digits(process.pagedata) : null,
    })),
  };
}

/** The bits of every mapping, a digit a page. */
function digits(pagedata: Pagedata): [address: string, digits: string][] {
  return pagedata.mappings.map((mapping) => [
    hex(mapping.start),
    pagedata.bits.subarray(
      firstOffset(pagedata, mapping),
      endOffset(pagedata, mapping),
    ).join(""),
  ]);
}

/** Runs every case. */
async function runAll(Memory: typeof GoldenMemory): Promise<void> {
  const files = [...Deno.readDirSync(folder)]
    .map(({ name }) => name)
    .filter((name) => name.endsWith(".json.gz"))
    .sort();
  assert(files.length > 0, `no *.json.gz file in ${folder}`);
  let cases = 0;
  for (const name of files) {
    using file = Deno.openSync(`${folder}/${name}`);
    const text = await new Response(
      file.readable.pipeThrough(new DecompressionStream("gzip")),
    ).text();
    const golden: GoldenFile = JSON.parse(text);
    assertEquals(golden.format, 1, `${name}: unknown format`);
    for (const goldenCase of golden.cases) {
      await runCase(goldenCase, Memory);
      cases++;
    }
  }
  assert(cases > 0, `no case in ${folder}`);
  say(`${cases} golden cases ran`);
}

Deno.test("golden cases of the scan algorithm", async () => {
  await runAll(GoldenMemory);
});

Deno.test("golden cases through the files of illumos's /proc", async () => {
  await runAll(IllumosGoldenMemory);
});
