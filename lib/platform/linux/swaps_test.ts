/**
 * Tests of which swap is used first.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import "../../../ffi/testing.ts";
import { firstSwaps, parseSwaps, swapDisk } from "./swaps.ts";

const SWAPS = `Filename				Type		Size		Used		Priority
/dev/vda2                               partition	1000		0		-2
/dev/zram0                              partition	2000		1000		100
/dev/zram1                              partition	2000		0		100
/var/my\\040swap                         file		500		500		200
`;

Deno.test("what /proc/swaps says", () => {
  assertEquals(parseSwaps(SWAPS)[0], {
    path: "/dev/vda2",
    size: 1000 * 1024,
    used: 0,
    priority: -2,
  });
  assertEquals(parseSwaps(SWAPS).map(({ path }) => path), [
    "/dev/vda2",
    "/dev/zram0",
    "/dev/zram1",
    "/var/my\\040swap",
  ]);
  const [header] = SWAPS.split("\n");
  assertEquals(parseSwaps(`${header}\n`), []);
  assertEquals(parseSwaps(""), []);
});

Deno.test("the swap of the highest priority with room is used first, and equals in turns", () => {
  const first = (kibibytes: number) =>
    firstSwaps(parseSwaps(SWAPS), kibibytes * 1024).map(({ path }) => path);
  assertEquals(first(0), ["/var/my\\040swap"]);
  assertEquals(first(256), ["/dev/zram0", "/dev/zram1"]);
  assertEquals(first(1500), ["/dev/zram1"]);
  assertEquals(first(4000), []);
  assertEquals(firstSwaps([], 0), []);
});

Deno.test("swap is on a disk if the next pages go to one", () => {
  const of = (...rows: string[]) =>
    swapDisk(
      parseSwaps(["Filename Type Size Used Priority", ...rows].join("\n")),
      2 ** 20,
    );
  const zram = "/dev/zram0 partition 2000 0 100";
  const full = "/dev/zram0 partition 2000 2000 100";
  const disk = "/dev/vda2 partition 1000 0 -2";
  assertEquals(of(), undefined);
  assertEquals(of(zram), undefined);
  assertEquals(of(zram, disk), undefined);
  assertEquals(of(full, disk), "/dev/vda2");
  assertEquals(of(zram, "/swap file 1000 0 100"), "/swap", "they take turns");
  assertEquals(swapDisk(undefined, 2 ** 20), null, "/proc/swaps does not tell");
  assertEquals(swapDisk(undefined, 0), undefined, "there is none");
});
