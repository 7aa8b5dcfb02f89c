/**
 * Tests of sizes and durations.
 *
 * @module
 */

import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { UsageError } from "../errors.ts";
import {
  exactDuration,
  exactPercent,
  exactSize,
  formatBeside,
  formatNanoseconds,
  formatShare,
  formatSize,
  hex,
  parseDuration,
  parsePercent,
  parseSize,
} from "./units.ts";

const MIB = 2 ** 20;
const context = { what: "--cap", totalMemory: () => 1000 * MIB };

Deno.test("sizes", () => {
  const sizes: Record<string, number> = {
    "1": 1,
    "1536": 1536,
    "1536B": 1536,
    "512K": 512 * 1024,
    "512k": 512 * 1024,
    "1.5G": 1536 * MIB,
    "2GiB": 2048 * MIB,
    "2gb": 2048 * MIB,
    "0.5K": 512,
    "1.6": 2,
    "7P": 7 * 2 ** 50,
    "25%": 250 * MIB,
    "0.1%": MIB,
    "100%": 1000 * MIB,
  };
  for (const [text, bytes] of Object.entries(sizes)) {
    assertEquals(parseSize(text, context), bytes, text);
  }
});

Deno.test("an invalid size is refused, and the message says what is valid", () => {
  for (
    const text of [
      "",
      " ",
      "-1",
      "+1",
      "10X",
      "10KK",
      "K",
      "%",
      "1 K",
      " 1K",
      "1K ",
      "1K\n",
      "1,5G",
      "1.G",
      ".5G",
      "1.5.5",
      "1e3",
      "0x10",
      "NaN",
      "Infinity",
      "٣",
      "5%%",
      "5%K",
    ]
  ) {
    const error = assertThrows(() => parseSize(text, context), UsageError);
    assertEquals(
      error.message,
      `--cap: "${text}" is not a size; write bytes (1048576), a unit (512K, 1.5G, 2GiB) or a share of memory (25%)`,
    );
  }
});

Deno.test("sizes out of range are refused", () => {
  for (
    const text of [
      "0",
      "0K",
      "0%",
      "101%",
      "0.1",
      "8P",
      "99999999999999999999",
      "9".repeat(400),
    ]
  ) {
    assertThrows(
      () => parseSize(text, context),
      UsageError,
      `--cap: "${text}" is out of range; a size is at least one byte, below 8P, and at most 100%`,
    );
  }
});

Deno.test("sizes for people", () => {
  const sizes: [number, string][] = [
    [0, "0"],
    [1023, "1023"],
    [1024, "1.0K"],
    [1536, "1.5K"],
    [512 * MIB, "512.0M"],
    [-4096, "-4.0K"],
    [2 ** 40, "1.0T"],
    [2000 * 2 ** 50, "2000.0P"],
  ];
  for (const [bytes, text] of sizes) assertEquals(formatSize(bytes), text);
});

Deno.test("a size over a cap reads as more than the cap", () => {
  const K = 1024;
  const pairs: [size: number, cap: number, texts: [string, string]][] = [
    [60 * MIB, 60 * MIB, ["60.0M", "60.0M"]],
    [60 * MIB - 5 * K, 60 * MIB, ["60.0M", "60.0M"]],
    [60 * MIB + 5 * K, 60 * MIB, ["60.005M", "60.000M"]],
    [60 * MIB + 50 * K, 60 * MIB, ["60.05M", "60.00M"]],
    [579.5 * MIB, 579 * MIB, ["579.5M", "579.0M"]],
    [5 * K, 8 * MIB, ["5.0K", "8.0M"]],
    // Below a mebibyte, but "1024.0K" with one decimal.
    [MIB, MIB - 4 * K, ["1.0M", "1020.0K"]],
    [MIB, MIB - 1, ["1.000M", "1023.999K"]],
    [1000, 999, ["1000", "999"]],
    [2 ** 43 + 4096, 2 ** 43, ["8.000000004T", "8.000000000T"]],
  ];
  for (const [size, cap, texts] of pairs) {
    const format = formatBeside(cap, size);
    assertEquals([format(size), format(cap)], texts);
  }
  const format = formatBeside(MIB, 3 * MIB, MIB + 4 * K);
  assertEquals([3 * MIB, MIB, MIB + 4 * K].map(format), [
    "3.000M",
    "1.000M",
    "1.004M",
  ]);
});

Deno.test("a size reads as more than its cap exactly if it is", () => {
  const sizes = fc.nat(50).chain((bits) => fc.nat(2 ** bits - 1));
  const near = fc.integer({ min: -100_000, max: 100_000 });
  const pairs = fc.oneof(
    fc.tuple(sizes, sizes),
    fc.tuple(sizes, near).map(([cap, by]): [number, number] => [
      cap,
      Math.max(0, cap + by),
    ]),
  );
  const read = (text: string) => {
    const [, number, unit] = /^([\d.]+)([KMGTP]?)$/.exec(text)!;
    return Number(number) * 1024 ** " KMGTP".indexOf(unit || " ");
  };
  fc.assert(
    fc.property(pairs, ([cap, size]) => {
      const format = formatBeside(cap, size);
      assertEquals(read(format(size)) > read(format(cap)), size > cap);
    }),
    { seed: 20_260_102, numRuns: 5000 },
  );
});

Deno.test("short times and shares for people", () => {
  const times = [0, 33.4, 999, 1000, 9700, 12_345, 1e6, 1.25e9, 9e10];
  assertEquals(times.map(formatNanoseconds), [
    ...["0 ns", "33 ns", "999 ns", "1.0 µs", "9.7 µs", "12 µs", "1.0 ms"],
    ...["1.3 s", "90 s"],
  ]);
  assertEquals(
    [0, 0.0017, 0.0156, 0.509, 1].map(formatShare),
    ["0.00 %", "0.17 %", "1.6 %", "51 %", "100 %"],
  );
});

Deno.test("addresses", () => {
  assertEquals(hex(0x7ffd_c0de_0000n), "0x7ffdc0de0000");
  assertEquals(hex(0xffff_ffff_ff60_0000n), "0xffffffffff600000");
});

Deno.test("durations", () => {
  const durations: Record<string, number> = {
    "0": 0,
    "5": 5000,
    "0.25": 250,
    "0s": 0,
    "500ms": 500,
    "5s": 5000,
    "1.5s": 1500,
    "2m": 120_000,
    "1h": 3_600_000,
    "596h": 2_145_600_000,
  };
  for (const [text, milliseconds] of Object.entries(durations)) {
    assertEquals(parseDuration(text, "--observe"), milliseconds, text);
  }
});

Deno.test("an invalid duration is refused", () => {
  for (
    const text of [
      "",
      "s",
      "1.",
      "1e3",
      "-1s",
      "+1s",
      "1 s",
      " 1s",
      "1s ",
      "1S",
      "1d",
      "1e3ms",
      ".5s",
      "1.s",
      "1m30s",
      "NaNs",
    ]
  ) {
    const error = assertThrows(
      () => parseDuration(text, "--observe"),
      UsageError,
    );
    assertEquals(
      error.message,
      `--observe: "${text}" is not a duration; write a number and a unit (500ms, 5s, 2m, 1h), or seconds (5)`,
    );
  }
  // Longer than a timer can be: such a timer would not wait at all.
  assertThrows(
    () => parseDuration("597h", "--observe"),
    UsageError,
    `--observe: "597h" is out of range; the longest duration is 596h`,
  );
});

Deno.test("durations within limits", () => {
  const limits = { least: 10, most: 86_400_000 };
  assertEquals(parseDuration("10ms", "interval", limits), 10);
  assertEquals(parseDuration("24h", "interval", limits), 86_400_000);
  for (const text of ["0", "9ms", "24.1h", "86401", "9999999h"]) {
    assertThrows(
      () => parseDuration(text, "interval", limits),
      UsageError,
      `interval: "${text}" is out of range; it is at least 10ms and at most 24h`,
    );
  }
});

Deno.test("percentages", () => {
  const percentages: Record<string, number> = {
    "0%": 0,
    "85%": 0.85,
    "12.5%": 0.125,
    "0.001%": 0.00001,
    "100%": 1,
    "100.000%": 1,
  };
  for (const [text, share] of Object.entries(percentages)) {
    assertEquals(parsePercent(text, "threshold"), share, text);
  }
  for (const text of ["", "%", "5", "0.5", "-1%", "1.%", "1.2345%", "5 %"]) {
    assertThrows(
      () => parsePercent(text, "threshold"),
      UsageError,
      `threshold: "${text}" is not a percentage; write a number from 0 to 100 with at most three decimals and a percent sign (85%)`,
    );
  }
  for (const text of ["100.001%", "101%", `${"9".repeat(400)}%`]) {
    assertThrows(
      () => parsePercent(text, "threshold"),
      UsageError,
      `threshold: "${text}" is out of range; it is at least 0% and at most 100%`,
    );
  }
});

Deno.test("exact values use the largest unit that divides them", () => {
  const sizes = [1, 1536, 512 * 1024, 1536 * MIB, 2048 * MIB, 2 ** 50];
  assertEquals(sizes.map(exactSize), [
    "1",
    "1536",
    "512K",
    "1536M",
    "2G",
    "1P",
  ]);
  const durations = [0.5, 250, 5000, 90_000, 120_000, 3_600_000];
  assertEquals(
    durations.map(exactDuration),
    ["0.5ms", "250ms", "5s", "90s", "2m", "1h"],
  );
  assertEquals([0, 0.07, 0.125, 1].map(exactPercent), [
    "0%",
    "7%",
    "12.5%",
    "100%",
  ]);
});

Deno.test("exact values are read back unchanged", () => {
  const sizes = fc.oneof(
    fc.integer({ min: 1, max: 2 ** 50 }),
    fc.tuple(fc.integer({ min: 1, max: 1000 }), fc.nat(4)).map(
      ([number, power]) => number * 1024 ** power,
    ),
  );
  const durations = fc.oneof(
    fc.nat(2 ** 31 - 1),
    fc.double({ min: 0.001, max: 2 ** 31 - 1, noNaN: true }),
  );
  fc.assert(
    fc.property(
      sizes,
      durations,
      fc.nat(100_000),
      (bytes, time, thousandths) => {
        assertEquals(parseSize(exactSize(bytes), context), bytes);
        assertEquals(parseDuration(exactDuration(time), "--observe"), time);
        const text = `${(thousandths / 1000).toFixed(3)}%`;
        const share = parsePercent(text, "threshold");
        assertEquals(parsePercent(exactPercent(share), "threshold"), share);
      },
    ),
    { seed: 20_260_101, numRuns: 2000 },
  );
});
