/**
 * Tests of the segments in which a daemon records.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { RcapError } from "../errors.ts";
import { operatingSystem } from "../platform/open.ts";
import { Segments } from "./segments.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();
const { files } = operatingSystem();

const KIB = 1024;

/** Runs a step with a directory of its own. */
function withFolder(step: (path: string) => void): void {
  // A place that others cannot change, as recordings need.
  const folder = Deno.makeTempDirSync({ dir: Deno.cwd(), prefix: ".rcap-" });
  try {
    step(`${folder}/recordings`);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function namesIn(path: string): string[] {
  return [...Deno.readDirSync(path)].map(({ name }) => name).sort();
}

function sizeOf(path: string): number {
  return namesIn(path).reduce(
    (sum, name) => sum + Deno.statSync(`${path}/${name}`).size,
    0,
  );
}

Deno.test("the oldest segment goes first, and the limit holds, over restarts too", () => {
  withFolder((path) => {
    const limit = 64 * KIB;
    let time = Date.UTC(2026, 0, 1);
    const now = () => new Date(time += 1000);
    const seen: string[] = [];
    for (let run = 0; run < 3; run++) {
      using segments = Segments.open(files, path, { limit, now });
      Deno.writeTextFileSync(`${path}/notes.txt`, "not a segment");
      for (let count = 0; count < 10; count++) {
        segments.begin();
        while (!segments.isFull) segments.write(new Uint8Array(1000));
        const names = namesIn(path).filter((name) => name.endsWith(".rcap"));
        seen.push(names[names.length - 1]);
        assert(sizeOf(path) <= limit + 20, `${sizeOf(path)}`);
        // What is left are the last ones.
        assertEquals(names, seen.slice(-names.length));
      }
    }
    assertEquals(new Set(seen).size, 30);
    assert(seen.includes("rcap-20260101-000001.rcap"), seen[0]);
    const [name] = namesIn(path).filter((name) => name.endsWith(".rcap"));
    const mode = (path: string) => (Deno.statSync(path).mode ?? 0) & 0o777;
    assertEquals([mode(path), mode(`${path}/${name}`)], [0o700, 0o600]);
    assertEquals(Deno.readTextFileSync(`${path}/notes.txt`), "not a segment");
  });
});

Deno.test("segments of one second have names in their order", () => {
  withFolder((path) => {
    const now = () => new Date(Date.UTC(2026, 0, 1));
    using segments = Segments.open(files, path, { limit: 2 ** 20, now });
    for (let count = 0; count < 3; count++) segments.begin();
    assertEquals(namesIn(path).length, 3);
  });
});

Deno.test("a directory that others can write to is refused", () => {
  withFolder((path) => {
    Deno.mkdirSync(path);
    Deno.chmodSync(path, 0o777);
    assertThrows(
      () => Segments.open(files, path, { limit: 2 ** 20 }),
      RcapError,
      `recordings cannot be kept in ${path}`,
    );
  });
});
