/**
 * Tests of what is found to add swap when a machine starts.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { lastingSwap } from "./lasting_swap.ts";

// Called before the first test, which would otherwise appear to leak the C library.
lastingSwap("/nonexistent");

/** Returns what is found on a machine with these files. */
function found(files: Record<string, string>): string[] {
  const root = Deno.makeTempDirSync();
  try {
    for (const [path, text] of Object.entries(files)) {
      const file = `${root}${path}`;
      Deno.mkdirSync(file.slice(0, file.lastIndexOf("/")), { recursive: true });
      Deno.writeTextFileSync(file, text);
    }
    return lastingSwap(root);
  } finally {
    Deno.removeSync(root, { recursive: true });
  }
}

Deno.test("swap that lasts is found in fstab and among the units that start", () => {
  const fstab = "/etc/fstab";
  const generated = "/run/systemd/generator/swap.target.requires";
  const cases: [files: Record<string, string>, found: string[]][] = [
    [{}, []],
    [{ [fstab]: "UUID=1 / ext4 defaults 0 1\n" }, []],
    [{ [fstab]: "#/swap none swap sw 0 0\n\n" }, []],
    [{ [fstab]: "/swap none swap noauto,sw 0 0\n" }, []],
    [{ [fstab]: "/swap none swap sw,pri=5 0 0\n" }, ["/swap (/etc/fstab)"]],
    [{ [`${generated}/dev-zram0.swap`]: "" }, ["dev-zram0.swap"]],
    [
      {
        [fstab]: "/swap\tnone\tswap\tsw\n",
        [`${generated}/swap.swap`]: "",
        [`${generated}/dev-zram0.swap`]: "",
      },
      ["/swap (/etc/fstab)", "dev-zram0.swap"],
    ],
    [
      { "/etc/systemd/system/multi-user.target.wants/zramswap.service": "" },
      ["zramswap.service"],
    ],
    [
      { "/etc/systemd/system/multi-user.target.wants/nginx.service": "" },
      [],
    ],
    // A unit that nothing starts.
    [{ "/etc/systemd/system/var-swap.swap": "" }, []],
  ];
  for (const [files, expected] of cases) {
    assertEquals(found(files), expected, JSON.stringify(files));
  }
});
