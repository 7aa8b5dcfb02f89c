/**
 * Tests of converting xmap's counts to residency.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import {
  MA_ANON,
  MA_READ,
  MA_SHARED,
  MA_WRITE,
} from "../../memory/mapping_flags.ts";
import { xmapResidency } from "./xmap_residency.ts";

const mapping = { start: 0x10000n, bytes: 0x8000 };

Deno.test("every resident page of a shared mapping is pageable", () => {
  assertEquals(
    xmapResidency({
      ...mapping,
      flags: MA_SHARED | MA_READ,
      resident: 5,
      anonymous: 2,
    }),
    { ...mapping, pageable: 5 },
  );
});

Deno.test("only the anonymous pages of a private mapping are pageable", () => {
  assertEquals(
    xmapResidency({
      ...mapping,
      flags: MA_READ | MA_WRITE,
      resident: 5,
      anonymous: 2,
    }),
    { ...mapping, pageable: 2 },
  );
});

Deno.test("anonymous pages that are swapped out are not pageable", () => {
  assertEquals(
    xmapResidency({
      ...mapping,
      flags: MA_READ | MA_WRITE | MA_ANON,
      resident: 3,
      anonymous: 8,
    }),
    { ...mapping, pageable: 3 },
  );
});
