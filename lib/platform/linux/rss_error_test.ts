/**
 * Tests of how exact RSS is, by release of the kernel.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { rssErrorInPages } from "./rss_error.ts";

Deno.test("the RSS of statm is exact from Linux 6.16 on", () => {
  const machine = { processors: 64, threads: 100 };
  for (const release of ["6.16.0", "6.16-rc1", "6.18.44-fc", "7.0.1", "10.0"]) {
    assertEquals(rssErrorInPages(release, machine), 0, release);
  }
});

Deno.test("from 6.2 on, each processor keeps back up to a batch of each counter", () => {
  for (const release of ["6.2.0", "6.12.48+deb13-amd64", "6.15"]) {
    const of = (processors: number) =>
      rssErrorInPages(release, { processors, threads: 100 });
    assertEquals(of(2), 3 * 32 * 2, release);
    assertEquals(of(64), 3 * 128 * 64, release);
  }
});

Deno.test("before 6.2, and on a kernel of unknown release, each thread keeps back some faults", () => {
  for (const release of ["6.1.0-37-amd64", "5.15", "4.18.0", "custom"]) {
    const of = (threads: number) =>
      rssErrorInPages(release, { processors: 64, threads });
    assertEquals([of(1), of(3)], [65 * 16, 3 * 65 * 16], release);
  }
});
