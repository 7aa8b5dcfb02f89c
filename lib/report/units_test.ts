/**
 * Tests of sizes and durations.
 *
 * @module
 */

import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../errors.ts";
import { formatSize, hex, parseDuration, parseSize } from "./units.ts";

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

Deno.test("what is no size is refused, and the message says what would be one", () => {
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
      `--cap: "${text}" is not a size; write bytes (1536), a unit (512K, 1.5G, 2GiB) or a share of memory (25%)`,
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

Deno.test("addresses", () => {
  assertEquals(hex(0x7ffd_c0de_0000n), "0x7ffdc0de0000");
  assertEquals(hex(0xffff_ffff_ff60_0000n), "0xffffffffff600000");
});

Deno.test("durations", () => {
  const durations: Record<string, number> = {
    "0": 0,
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

Deno.test("what is no duration is refused", () => {
  for (
    const text of [
      "",
      "1",
      "s",
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
      `--observe: "${text}" is not a duration; write a number and a unit (500ms, 5s, 2m, 1h)`,
    );
  }
  // Longer than timers can be: it would not wait at all.
  assertThrows(
    () => parseDuration("597h", "--observe"),
    UsageError,
    `--observe: "597h" is out of range; the longest duration is 596h`,
  );
});
