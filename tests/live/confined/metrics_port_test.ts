/**
 * Tests that strangers cannot disturb the daemon through the metrics port.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { cap, QUICKLY, TestDaemon } from "../../support/daemon.ts";
import { requireRoot } from "../../support/live.ts";
import { Workload } from "../../support/workload.ts";

requireRoot();

/** A user id that nothing else uses. */
const SOMEONE = 54_352;

Deno.test("200 connections do not disturb the daemon, even with few descriptors", async () => {
  for (const descriptors of [64, 1024]) {
    await using first = await Workload.start({ uid: SOMEONE });
    await using daemon = await TestDaemon.start({
      config: QUICKLY + cap("theirs", [`user:${SOMEONE}`], "1G"),
      args: ["--metrics", "0"],
      descriptors,
    });
    const hostname = "127.0.0.1";
    const port = await daemon.listeningPort();
    await daemon.untilGroup(
      "theirs",
      ({ processes }) => processes === 1,
      "its process to be found",
    );
    using held = new DisposableStack();
    const encoder = new TextEncoder();
    const beginnings = [
      "",
      "GET /metrics HTTP/1.1\r\nHost: a\r\nX-",
      "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
      // More answers than the buffers hold, and none is read.
      "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000),
    ];
    for (let i = 0; i < 200; i++) {
      const connection = held.use(await Deno.connect({ hostname, port }));
      const bytes = encoder.encode(beginnings[i % beginnings.length]);
      // The write waits, or fails after the connection was closed to make room.
      connection.write(bytes).catch(() => {});
    }
    const page = async (path: string) => {
      const response = await fetch(`http://${hostname}:${port}${path}`);
      return `${response.status} ${await response.text()}`;
    };
    assertMatch(
      await page("/metrics"),
      /^200 [^]*\nrcap_processes\{group="theirs"\} 1\n/,
    );
    // Membership is still updated: a process joins and is found, and one leaves.
    await using second = await Workload.start({ uid: SOMEONE });
    await daemon.untilGroup(
      "theirs",
      ({ processes }) => processes === 2,
      "another process to be found",
    );
    assertEquals(await page("/healthz"), "200 ok\n");
    const open = [...Deno.readDirSync(`/proc/${daemon.pid}/fd`)].length;
    assert(open <= descriptors * 3 / 4, `${open} descriptors are open`);
    await second[Symbol.asyncDispose]();
    await first[Symbol.asyncDispose]();
    const { code, stderr } = await daemon.stop();
    assertEquals(code, 0);
    assert(!/warning|Too many open files/.test(stderr), stderr);
  }
});
