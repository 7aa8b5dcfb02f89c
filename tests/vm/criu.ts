/**
 * Proves that rcap leaves soft-dirty bits to those who track memory by them. CRIU
 * dumps a process in two steps, of which the second one has only what was written
 * after the first; meanwhile rcap observes the process and pages it out. Restored, the
 * process has to find its memory as it was: see `criu.sh`.
 *
 * `deno task test:vm` runs this, as machine `criu`.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { binary, isChosen } from "./choice.ts";
import { type Guest, runGuest } from "./guest.ts";

/** How long the machine may run; emulated, it takes its time. */
const TIMEOUT_SECONDS = 1200;

/** What `tracked.pl` keeps reading. */
const HOT = 1 << 20;

interface Inspection {
  pagedata: string;
  mappings: { rss: number; referenced: number }[];
}

if (isChosen("criu")) {
  Deno.test("CRIU dumps a process incrementally beside rcap", async () => {
    const path = (name: string) => new URL(name, import.meta.url).pathname;
    const guest = await runGuest({
      release: "trixie",
      cpu: "max,-la57",
      rcap: binary(),
      init: path("criu.sh"),
      scripts: new Map([["tracked.pl", path("tracked.pl")]]),
      program: "criu",
      timeoutSeconds: TIMEOUT_SECONDS,
    });
    try {
      // The last one: after it, none is missing.
      guest.output("done");
      checkHot(guest);
      for (const first of ["rcap", "criu"]) {
        guest.output(`${first}_pre_dump`);
        // In KiB.
        assert(Number(guest.output(`${first}_worked`)) > 512, first);
        guest.output(`${first}_dump`);
        guest.output(`${first}_restore`);
        assertEquals(guest.output(`${first}_wrong`), "0\n", `${first} first`);
      }
    } catch (error) {
      throw guest.explain(error);
    }
  });
}

/** Checks that what is hot is referenced, and what is not is idle. */
function checkHot(guest: Guest): void {
  const { pagedata, mappings } = guest.json<Inspection>("rcap_inspect");
  assertEquals(pagedata, "pte");
  const largest = mappings.toSorted((a, b) => b.rss - a.rss)[0];
  const { rss, referenced } = largest;
  assert(referenced >= HOT, `${referenced} of ${rss}`);
  assert(referenced < 2 * HOT, `${referenced} of ${rss}`);
}
