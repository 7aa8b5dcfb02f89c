/**
 * Tests of the format: what is written is read, what is damaged is refused, and how much
 * room a recording takes.
 *
 * @module
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { crc32 } from "node:zlib";
import { fuzz } from "../../tests/support/fuzzing.ts";
import { PagedataBuilder, REFERENCED } from "../memory/pagedata.ts";
import { DamagedRecording } from "./codec.ts";
import { fileStart, frameOf } from "./frames.ts";
import { PageBits, WORDS } from "./page_bits.ts";
import { RecordingReader } from "./reader.ts";
import {
  machineFigures,
  noFigures,
  PROCESS_FIGURES,
  type RecordedMapping,
  type RecordedStep,
  type RecordingInfo,
} from "./records.ts";
import { stepsOf } from "./turns.ts";
import { RecordingWriter } from "./writer.ts";

const START = fileStart().length;

const INFO: RecordingInfo = {
  rcap: "1.2.3",
  startedAt: 1_700_000_000,
  interval: 5,
  selectors: ["comm:one"],
  pagedata: "pte",
  isAnonymous: false,
  pageIns: [{ from: "swap", device: "zram0", nanoseconds: 9000 }],
};

const MACHINE = machineFigures({
  totalMemory: 2 ** 34,
  availableMemory: 2 ** 33,
  totalSwap: 0,
  freeSwap: 0,
}, { pressure: 0.25 });

/** Collects what is written. */
class Bytes {
  readonly parts: Uint8Array<ArrayBuffer>[] = [];
  readonly put = (bytes: Uint8Array<ArrayBuffer>): void => {
    this.parts.push(bytes.slice());
  };

  get all(): Uint8Array<ArrayBuffer> {
    const length = this.parts.reduce((sum, part) => sum + part.length, 0);
    const all = new Uint8Array(length);
    let at = 0;
    for (const part of this.parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}

function readerOf(bytes: Uint8Array): RecordingReader {
  let at = 0;
  return new RecordingReader((buffer) => {
    const part = bytes.subarray(at, at + buffer.length);
    buffer.set(part);
    at += part.length;
    return part.length;
  }, "FILE");
}

/** What a step says, as text. */
function textOf(
  { number, seconds, machine, processes, joined, left }: RecordedStep,
): string {
  return JSON.stringify({
    number,
    seconds,
    machine,
    processes: [...processes.values()].map((one) => ({
      ...one.identity,
      ...one.figures,
      stays: one.stays,
      mappings: one.mappings,
      bits: one.bits.numbers.map((number) => {
        const place = one.bits.placeOf(number);
        return [number, ...one.bits.words.slice(place, place + 2 * WORDS)];
      }),
    })),
    joined: joined.map(({ id }) => id),
    left: left.map(({ process, reason }) => [process.id, reason]),
  });
}

function readAll(bytes: Uint8Array): string[] {
  return Array.from(readerOf(bytes).steps(), textOf);
}

/** Returns the bits of pages of one mapping: 1 for resident, 3 for used as well. */
function bitsOf(start: number, pages: ArrayLike<number>): PageBits {
  const builder = new PagedataBuilder();
  builder.addMapping({
    start: BigInt(start) * 4096n,
    pages: pages.length,
    pageSize: 4096,
    flags: 0,
  });
  const used: number[] = [];
  for (let page = 0; page < pages.length; page++) {
    if (!pages[page]) continue;
    builder.addPages(page, { count: 1, bits: 0 });
    used.push(pages[page] === 3 ? 7 : 1);
  }
  const bits = new PageBits();
  bits.take(builder.build(), Uint8Array.from(used), { moment: 7, most: 1000 });
  return bits;
}

function mapping(
  start: number,
  units: number,
  name = "[heap]",
): RecordedMapping {
  return { start, units, pageSize: 4096, flags: 0x46, isFile: false, name };
}

/** A recording of three steps of two processes, one of which exits. */
function example(): Uint8Array<ArrayBuffer> {
  const bytes = new Bytes();
  const writer = new RecordingWriter(bytes.put, INFO);
  const figures = { ...noFigures(PROCESS_FIGURES), rss: 4096, isRead: 1 };
  writer.beginStep(5, MACHINE);
  const ids = ["one", "two"].map((comm, at) =>
    writer.join({ pid: 10 + at, startTime: 99, comm, uid: at || undefined }) ??
      -1
  );
  for (const id of ids) {
    writer.figures(id, figures, [{ reason: "locked", bytes: 8192 }]);
    writer.mappings(id, [mapping(100, 900), mapping(5000, 10, "/lib/x.so")]);
    writer.pages(id, bitsOf(100, Array.from({ length: 900 }, () => 3)));
  }
  writer.endStep();
  writer.beginStep(10.007, { ...MACHINE, availableMemory: 5 });
  writer.leave(ids[0], "exited");
  writer.figures(ids[1], { ...figures, majorFaults: 3, rss: 0 }, []);
  writer.mappings(ids[1], [
    mapping(100, 900),
    mapping(2000, 5, ""),
    mapping(5000, 10, "/lib/x.so"),
  ]);
  writer.pages(ids[1], bitsOf(100, Array.from({ length: 700 }, () => 1)));
  writer.endStep();
  writer.beginStep(15, MACHINE);
  writer.endStep();
  writer.end("done");
  return bytes.all;
}

Deno.test("what is written is read", () => {
  const reader = readerOf(example());
  assertEquals(reader.info, INFO);
  const seen: string[] = [];
  for (const { number, seconds, machine, processes, left } of reader.steps()) {
    const all = [...processes.values()].map(({ identity, bits, ...one }) =>
      `${identity.comm} ${identity.uid} ${one.figures.majorFaults} ` +
      `${one.mappings.map(({ start, name }) => `${start}${name}`)} ` +
      `${one.stays.length} ${bits.bytes.resident / 4096} ` +
      `${bits.bytes.used / 4096}`
    );
    seen.push(
      `${number} ${seconds} ${machine.availableMemory}: ${all.join("; ")}` +
        left.map(({ process, reason }) => ` -${process.id} ${reason}`).join(""),
    );
  }
  assertEquals(seen, [
    "0 5 8589934592: one undefined 0 100[heap],5000/lib/x.so 1 900 900; " +
    "two 1 0 100[heap],5000/lib/x.so 1 900 900",
    "1 10.007 5: two 1 3 100[heap],2000,5000/lib/x.so 0 700 0 -0 exited",
    "2 15 8589934592: two 1 3 100[heap],2000,5000/lib/x.so 0 700 0",
  ]);
  assertEquals(reader.end, { how: "done", cutAt: undefined });
});

Deno.test("processes that change at random are read as they were", () => {
  const pages = fc.array(fc.constantFrom(0, 0, 1, 3), { maxLength: 1500 });
  const step = fc.record({ pages, start: fc.nat(3000), text: fc.string() });
  fuzz(fc.array(step, { minLength: 1, maxLength: 6 }), 200, (steps) => {
    const bytes = new Bytes();
    const writer = new RecordingWriter(bytes.put, INFO);
    const expected: string[] = [];
    for (const [number, { pages, start, text }] of steps.entries()) {
      writer.beginStep(number * 5, MACHINE);
      const id = number === 0
        ? writer.join({ pid: 1, startTime: 2, comm: text, uid: 0 }) ?? -1
        : 0;
      const mappings = [
        mapping(start, pages.length, text.replaceAll("\0", "")),
        mapping(9000 + number, 1),
      ];
      writer.mappings(id, mappings);
      const bits = bitsOf(start, pages);
      expected.push(JSON.stringify([
        mappings,
        bits.numbers.map((number) => {
          const place = bits.placeOf(number);
          return [number, ...bits.words.slice(place, place + 2 * WORDS)];
        }),
      ]));
      writer.pages(id, bits);
      writer.endStep();
    }
    const found = Array.from(readerOf(bytes.all).steps(), ({ processes }) => {
      const one = processes.get(0);
      assert(one);
      return JSON.stringify([
        one.mappings,
        one.bits.numbers.map((number) => {
          const place = one.bits.placeOf(number);
          return [number, ...one.bits.words.slice(place, place + 2 * WORDS)];
        }),
      ]);
    });
    assertEquals(found, expected);
  });
});

Deno.test("bits become the reading that they were made of", () => {
  fuzz(
    fc.array(fc.constantFrom(0, 1, 3), { minLength: 1, maxLength: 1300 }),
    300,
    (pages) => {
      for (const start of [0, 511, 700]) {
        const bits = bitsOf(start, pages);
        const mappings = [{
          start,
          units: pages.length,
          pageSize: 4096,
          flags: 0,
        }];
        const { bits: bytes, runPage, runOffset } = bits.pagedata(mappings);
        const found = new Array(pages.length).fill(0);
        for (let run = 0; run < runPage.length; run++) {
          for (let at = runOffset[run]; at < runOffset[run + 1]; at++) {
            found[runPage[run] + at - runOffset[run]] = bytes[at] === REFERENCED
              ? 3
              : 1;
          }
        }
        assertEquals(found, pages);
        assertEquals(
          bits.bytes.resident,
          pages.filter((page) => page > 0).length * 4096,
        );
      }
    },
  );
});

Deno.test("a file that ends anywhere gives all steps that were complete", () => {
  const whole = example();
  const all = readAll(whole);
  assertEquals(all.length, 3);
  let most = 0;
  for (let length = 0; length < whole.length; length++) {
    const part = whole.subarray(0, length);
    let steps: string[];
    try {
      steps = readAll(part);
    } catch (error) {
      assert(error instanceof DamagedRecording, String(error));
      assertEquals(most, 0, "no step was lost that was there");
      continue;
    }
    assertEquals(steps, all.slice(0, steps.length));
    assert(steps.length >= most);
    most = steps.length;
  }
  assertEquals(most, 3);
});

Deno.test("every change of bytes is found, with its place", () => {
  const whole = example();
  for (let at = 0; at < whole.length; at++) {
    for (const flip of [1, 0x80, 0xff]) {
      const damaged = whole.slice();
      damaged[at] ^= flip;
      const error = assertThrows(() => readAll(damaged), DamagedRecording);
      assert(
        /^FILE (is damaged at byte \d+: |is not a recording)/.test(
          error.message,
        ),
        error.message,
      );
    }
  }
});

Deno.test("times and intervals that no writer has are refused", () => {
  const written = (info: Partial<RecordingInfo>, seconds: number[] = []) => {
    const bytes = new Bytes();
    const writer = new RecordingWriter(bytes.put, { ...INFO, ...info });
    for (const at of seconds) {
      writer.beginStep(at, MACHINE);
      writer.endStep();
    }
    return bytes.all;
  };
  for (const interval of [0, 5e-324, 0.009, 86_401, 1e300]) {
    assertThrows(
      () => readAll(written({ interval })),
      DamagedRecording,
      "its information: Invalid value",
    );
  }
  for (const startedAt of [-1, 8.64e12 + 1, 1e300]) {
    assertThrows(() => readAll(written({ startedAt })), DamagedRecording);
  }
  const year = 365 * 86_400;
  assertEquals(readAll(written({ interval: 0.01 }, [1, 10 * year])).length, 2);
  for (const times of [[11 * year], [1, 6 * year, 10 * year + 1]]) {
    assertThrows(
      () => readAll(written({}, times)),
      DamagedRecording,
      "is too large for a time",
    );
  }
});

Deno.test("a piece that is missing, twice there, or elsewhere is found", () => {
  const bytes = new Bytes();
  const writer = new RecordingWriter(bytes.put, INFO);
  for (let step = 0; step < 4; step++) {
    writer.beginStep(step, MACHINE);
    writer.endStep();
  }
  const join = (parts: Uint8Array<ArrayBuffer>[]) => {
    const whole = new Bytes();
    parts.forEach(whole.put);
    return whole.all;
  };
  const { parts } = bytes;
  for (
    const wrong of [
      [...parts.slice(0, 3), ...parts.slice(4)],
      [...parts.slice(0, 3), ...parts.slice(2)],
      [...parts.slice(0, 2), parts[3], parts[2]],
    ]
  ) {
    const error = assertThrows(() => readAll(join(wrong)), DamagedRecording);
    assert(error.message.includes("should be"), error.message);
  }
});

Deno.test("whatever valid frames contain, it is read or refused", () => {
  const start = new Bytes();
  new RecordingWriter(start.put, INFO);
  // Records that are nearly right.
  const frames = [
    new Uint8Array([2, 0, 0, 3, 1, 1, 1, 120, 1, 10]),
    new Uint8Array([2, 0, 0, 3, 1, 1, 0, 0, 8, 0, 0, 0, 1, 100, 3, 128, 32]),
    new Uint8Array([2, 0, 0, 3, 1, 1, 0, 0, 9, 0, 5, 1]),
  ];
  const part = fc.oneof(
    fc.constantFrom(...frames),
    fc.uint8Array({ maxLength: 40 }),
    fc.constantFrom(
      ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].map((kind) =>
        new Uint8Array([kind, 0, 0])
      ),
    ),
  );
  fuzz(fc.array(part, { maxLength: 6 }), 3000, (parts) => {
    const all = new Bytes();
    start.parts.forEach(all.put);
    const inner = new Bytes();
    parts.forEach((one) => inner.put(Uint8Array.from(one)));
    all.put(frameOf(1, inner.all));
    try {
      readAll(all.all);
    } catch (error) {
      assert(error instanceof DamagedRecording, String(error));
      assert(error.message.startsWith("FILE is damaged at byte "));
    }
  });
});

Deno.test("a frame that would fill the memory is refused", () => {
  const start = new Bytes();
  new RecordingWriter(start.put, INFO);
  // A process, and a block in every 2 MiB: each takes four bytes and 64 zeros.
  const block = new Uint8Array(66);
  block[0] = 1;
  block[1] = 1;
  block[2] = 1;
  const count = 15_000;
  const pages = new Uint8Array(3 + count * 66);
  pages.set([9, 0], 0);
  for (let at = 0; at < count; at++) pages.set(block, 2 + at * 66);
  const all = new Bytes();
  start.parts.forEach(all.put);
  all.put(frameOf(1, new Uint8Array([2, 0, 0, 3, 1, 1, 0, 0])));
  for (let frame = 2; frame < 80; frame++) {
    // Each goes on above the last: the first distance is larger.
    const distance = (frame - 2) * count + 1;
    const first = new Uint8Array([
      distance & 0x7f | 0x80,
      distance >>> 7 & 0x7f | 0x80,
      distance >>> 14,
    ]);
    const inner = new Bytes();
    inner.put(new Uint8Array([9, 0]));
    inner.put(first);
    inner.put(pages.slice(3));
    all.put(frameOf(frame, inner.all));
  }
  const error = assertThrows(() => readAll(all.all), DamagedRecording);
  assert(error.message.includes("too many blocks"), error.message);
});

/** A recording of one process, with one step of the records given, a frame each. */
function oneStep(frames: readonly Uint8Array<ArrayBuffer>[]): Uint8Array {
  const all = new Bytes();
  new RecordingWriter(all.put, INFO);
  const begin = new Uint8Array([2, 0, 0, 3, 1, 1, 0, 0]);
  const end = new Uint8Array([10]);
  for (const [at, contents] of [begin, ...frames, end].entries()) {
    all.put(frameOf(at + 1, contents));
  }
  return all.all;
}

/** Bytes one after another. */
function joined(...parts: readonly (readonly number[])[]): Uint8Array<
  ArrayBuffer
> {
  return Uint8Array.from(parts.flat());
}

Deno.test("mappings that do not fit a frame go on in the next, and are read as they were", () => {
  const bytes = new Bytes();
  const writer = new RecordingWriter(bytes.put, INFO);
  const many = Array.from({ length: 200_000 }, (_, at) => mapping(at * 9, 7));
  const other = many.map((one, at) =>
    at % 3 === 0 && at > 9 && at < 199_000 ? { ...one, units: 5 } : one
  );
  for (const [step, mappings] of [many, other].entries()) {
    writer.beginStep(step, MACHINE);
    const id = step === 0
      ? writer.join({ pid: 1, startTime: 2, comm: "one", uid: 0 }) ?? -1
      : 0;
    writer.mappings(id, mappings);
    writer.endStep();
  }
  assert(bytes.parts.length > 4, `${bytes.parts.length} frames`);
  let step = 0;
  for (const { processes } of readerOf(bytes.all).steps()) {
    const found = JSON.stringify(processes.get(0)?.mappings);
    assert(found === JSON.stringify(step++ === 0 ? many : other), `${step}`);
  }
});

Deno.test("mappings that change again and again in a step are refused: reading takes as long as the file is", () => {
  const one = [1, 0, 1, 128, 32, 0, 0, 0];
  const mappings = (first: number, last: number, ...some: number[][]) =>
    joined([8, 0, first, last], ...some, [0]);
  const [first, second] = [mappings(0, 0, one, one), mappings(2, 0, one)];
  assertEquals(readAll(oneStep([first, second])).length, 1);
  for (const again of [mappings(0, 0, one), mappings(1, 1), mappings(1, 0)]) {
    assertThrows(
      () => readAll(oneStep([first, again])),
      DamagedRecording,
      "the mappings of a process change twice in a step",
    );
  }
  assertThrows(
    () => readAll(oneStep([mappings(1, 0)])),
    DamagedRecording,
    "is too large for a number of mappings",
  );
});

Deno.test("a signal ends the reading of a step that is longer than any", async () => {
  // Blocks that come and go, in frames of 1 MiB of which each has 1 KiB in the file.
  const block = new Uint8Array(66);
  block.set([1, 1, 1]);
  const pages = new Uint8Array(3 + 15_000 * 66);
  pages.set([9, 0]);
  for (let at = 0; at < 15_000; at++) pages.set(block, 2 + at * 66);
  const bytes = oneStep(Array.from({ length: 300 }, () => pages));
  assert(bytes.length < 4 * 2 ** 20);
  const ending = new AbortController();
  setTimeout(() => ending.abort(new RangeError("enough")), 100);
  await assertRejects(
    async () => {
      for await (const _ of stepsOf(readerOf(bytes), ending.signal)) {
        // Only how it ends is of interest.
      }
    },
    RangeError,
    "enough",
  );
});

Deno.test("another file, and a later version, are named as such", () => {
  const bytes = example();
  assertThrows(
    () => readAll(new TextEncoder().encode("[daemon]\ninterval = 5\n# long\n")),
    DamagedRecording,
    "FILE is not a recording of rcap",
  );
  const at = START - 8;
  bytes[at] = 2;
  new DataView(bytes.buffer).setUint32(
    at + 4,
    crc32(bytes.subarray(0, at + 4)),
    true,
  );
  assertThrows(
    () => readAll(bytes),
    DamagedRecording,
    "FILE is a recording of version 2; this rcap reads version 1",
  );
});

for (
  const { where, distance, most } of [
    { where: "in one place", distance: 1, most: 0.42 * 2 ** 20 },
    { where: "spread evenly", distance: 4, most: 2 ** 20 },
  ]
) {
  Deno.test(`4 GiB, a quarter in use, ${where}, and a random half of that in each 5 s: at most 1 MiB a minute`, () => {
    const pages = 2 ** 20;
    const bytes = new Bytes();
    const writer = new RecordingWriter(bytes.put, INFO);
    const builder = new PagedataBuilder(pages);
    const start = 0x7f0000000000n;
    builder.addMapping({ start, pages, pageSize: 4096, flags: 2 });
    builder.addPages(0, { count: pages, bits: 0 });
    const pagedata = builder.build();
    const used = new Uint8Array(pages);
    let spare = new PageBits();
    const record = (step: number) => {
      writer.beginStep(step * 5, MACHINE);
      if (step === 0) writer.join({ pid: 1, startTime: 1, comm: "x", uid: 0 });
      spare.take(pagedata, used, { moment: 1, most: 2 ** 20 });
      spare = writer.pages(0, spare);
      writer.endStep();
      return writer.size;
    };
    const first = record(0);
    for (let step = 1; step <= 12; step++) {
      for (let page = 0; page < pages / 4; page++) {
        used[page * distance] = Math.random() < 0.5 ? 1 : 0;
      }
      record(step);
    }
    const minute = writer.size - first;
    // A random half of 2^18 pages is 32 KiB in each of twelve intervals.
    assert(minute > 11 * 32 * 1024, `${minute}`);
    assert(minute <= most, `${minute} bytes in a minute`);
    // What does not change costs nothing.
    const before = writer.size;
    for (let step = 13; step < 25; step++) record(step);
    assert(writer.size - before < 12 * 64, `${writer.size - before}`);
  });
}
