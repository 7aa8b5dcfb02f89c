import { assertEquals } from "@std/assert";
import { heatLegend, heatStrip } from "./heat.ts";

Deno.test("a strip has a cell for each share, and fuller ones for greater shares", () => {
  const shares = [0, 0.0005, 0.002, 0.25, 0.3, 0.6, 0.8, 1, null, 7];
  assertEquals(
    heatStrip(shares, { unicode: true, color: false }) as string,
    "··░░▒▓██ █",
  );
  assertEquals(
    heatStrip(shares, { unicode: false, color: false }) as string,
    "..::+*## #",
  );
  assertEquals(heatStrip([], { unicode: true, color: false }) as string, "");
});

Deno.test("what is no number is drawn as not used", () => {
  assertEquals(
    heatStrip([NaN, -1], { unicode: true, color: false }) as string,
    "··",
  );
});

Deno.test("a coloured strip ends with the default colour", () => {
  assertEquals(
    heatStrip([1, 1, null, 1], { unicode: true, color: true }) as string,
    "\x1b[38;5;226m██\x1b[39m \x1b[38;5;226m█\x1b[39m",
  );
  assertEquals(
    heatStrip([1, null], { unicode: true, color: true }) as string,
    "\x1b[38;5;226m█\x1b[39m ",
  );
});

Deno.test("the legend names the first and the last cell", () => {
  assertEquals(heatLegend({ unicode: false }), ". not used : + * # all used");
});
