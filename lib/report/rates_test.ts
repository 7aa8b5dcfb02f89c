import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../errors.ts";
import {
  exactByteRate,
  exactRefaultLimit,
  parseByteRate,
  parseRefaultLimit,
} from "./rates.ts";

Deno.test("a rate of bytes is a size and a time, and reads back as written", () => {
  const parse = (text: string) =>
    parseByteRate(text, { what: "rate", units: ["s", "min", "day"] });
  assertEquals(parse("64M/s"), { bytes: 64 << 20, per: 1000 });
  assertEquals(parse("1.5G/min"), { bytes: 1.5 * 2 ** 30, per: 60_000 });
  assertEquals(parse("20G/day"), { bytes: 20 * 2 ** 30, per: 86_400_000 });
  for (const text of ["64M/s", "1536M/min", "20G/day", "1/s"]) {
    assertEquals(exactByteRate(parse(text)), text);
  }
});

Deno.test("what is not a rate of bytes is refused with what would be", () => {
  for (
    const text of [
      "64M",
      "64M/h",
      "/s",
      "5%/s",
      "64M/s/s",
      "M/s",
      "-1/s",
      "0/s",
    ]
  ) {
    const error = assertThrows(
      () =>
        parseByteRate(text, { what: "max_pageout_rate", units: ["s", "min"] }),
      UsageError,
    );
    assertEquals(error.message.includes("max_pageout_rate"), true, text);
  }
  const error = assertThrows(
    () => parseByteRate("64M", { what: "rate", units: ["s", "min"] }),
    UsageError,
  );
  assertEquals(
    error.message,
    'rate: "64M" is not an amount in a time; write a size, a slash and s or min ("64M/s")',
  );
});

Deno.test("a limit on refaults is a share in a minute or pages in a second", () => {
  const parse = (text: string) => parseRefaultLimit(text, "max_refaults");
  assertEquals(parse("0.2%/min"), { sharePerMinute: 0.002 });
  assertEquals(parse("0.2%"), { sharePerMinute: 0.002 });
  assertEquals(parse("50/s"), { perSecond: 50 });
  for (const text of ["0.2%/min", "100%/min", "50/s", "0.5/s"]) {
    assertEquals(exactRefaultLimit(parse(text)), text);
  }
  for (
    const text of ["0.2", "0.2%/s", "50", "50/min", "101%/min", "-1/s", ""]
  ) {
    assertThrows(() => parse(text), UsageError, "max_refaults");
  }
});
