import { assertEquals } from "@std/assert";
import { heatLevel, heatStrip } from "./heat.ts";

Deno.test("a strip has a cell for each count, and fuller ones for greater counts", () => {
  const options = { unicode: true, color: false };
  assertEquals(heatStrip([0, 1, 2, 4, 8], options) as string, " ▁▂▄█");
  assertEquals(
    heatStrip([0, 1, 2, 4, 8], { unicode: false, color: false }) as string,
    " .:=@",
  );
  assertEquals(heatStrip([], options) as string, "");
  assertEquals(heatStrip([0, 0], options) as string, "  ");
});

Deno.test("a count above 0 is never drawn as empty, and none is more than full", () => {
  assertEquals(heatLevel(1, 1e9), 1);
  assertEquals(heatLevel(2e9, 1e9), 8);
  assertEquals(heatLevel(0, 0), 0);
  assertEquals(heatLevel(NaN, 1), 0);
  assertEquals(heatLevel(1, 0), 8);
});

Deno.test("a coloured strip ends with the default colour", () => {
  assertEquals(
    heatStrip([0, 8, 8, 0, 8], { unicode: true, color: true }) as string,
    " \x1b[38;5;196m██\x1b[39m \x1b[38;5;196m█\x1b[39m",
  );
});
