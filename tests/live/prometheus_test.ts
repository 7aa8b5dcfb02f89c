/**
 * Tests that Debian's Prometheus reads the daemon's metrics.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { endConnection } from "../../ffi/linux_socket.ts";
import { daemonState, groupState } from "../../lib/group/testing.ts";
import { Metrics } from "../../lib/service/metrics.ts";
import {
  formatAddress,
  MetricsServer,
} from "../../lib/service/metrics_server.ts";
import { Prometheus, type Sample } from "../support/prometheus.ts";

const MIB = 2 ** 20;

/** A state with two groups. */
function report({ scans, names }: { scans: number; names: string[] }) {
  return daemonState({
    groups: names.map((name) =>
      groupState({
        name,
        rss: 64 * MIB,
        statistics: { scans, attempted: scans * MIB, effective: scans * MIB },
      })
    ),
  });
}

/** The values of samples by group. */
function byGroup(samples: Sample[]): Record<string, number> {
  return Object.fromEntries(
    samples.map(({ labels, value }) => [labels.group, value]),
  );
}

Deno.test("Prometheus scrapes the metrics, and queries work on them", async () => {
  const metrics = new Metrics({ version: "1.2.3" });
  const odd = 'größe "b"\\';
  metrics.update(report({ scans: 3, names: ["browsers", odd] }));
  metrics.observeScan(0.2);
  metrics.observeRead({ pages: 1_000_000, seconds: 0.003 });
  await using server = new MetricsServer({
    endConnection,
    address: { hostname: "127.0.0.1", port: 0 },
    metrics,
    health: () => undefined,
  });
  await using prometheus = await Prometheus.start(
    formatAddress(server.address),
  );

  const { lastError } = await prometheus.untilTarget("up");
  assertEquals(lastError, "");
  const found = await prometheus.until(
    "rcap_rss_bytes",
    ({ length }) => length > 0,
  );
  assertEquals(byGroup(found), {
    browsers: 64 * MIB,
    [odd]: 64 * MIB,
  });

  // The types of the families show that Prometheus read OpenMetrics: in its own
  // format, the names of counters include their suffix.
  const types = await prometheus.types();
  assertEquals(types.rcap_scans ?? types.rcap_scans_total, "counter");
  assertEquals(types.rcap_scan_duration_seconds, "histogram");
  assertEquals(types.rcap_rss_bytes, "gauge");
  assert(Object.values(types).every((type) => type !== "unknown"));

  const one = async (query: string) => {
    const [sample, ...others] = await prometheus.query(query);
    assertEquals(others, []);
    return sample.value;
  };
  assertEquals(await one('rcap_build_info{version="1.2.3"}'), 1);
  const nanoseconds = await one(
    "1e9 * rcap_page_read_seconds_total / rcap_pages_read_total",
  );
  assert(Math.abs(nanoseconds - 3) < 1e-6, `${nanoseconds} ns per page`);
  assertEquals(await one("sum(rcap_scans_total)"), 6);
  assertEquals(await one('rcap_scan_duration_seconds_bucket{le="0.25"}'), 1);

  // Counters continue, and groups disappear.
  metrics.update(report({ scans: 5, names: ["browsers"] }));
  const later = await prometheus.until(
    "rcap_scans_total",
    ({ length }) => length === 1,
  );
  assertEquals(byGroup(later), { browsers: 5 });
  assertEquals(
    await one('increase(rcap_scans_total{group="browsers"}[5m]) > bool 0'),
    1,
  );
});

Deno.test("Prometheus sees that a daemon is gone", async () => {
  const server = new MetricsServer({
    endConnection,
    address: { hostname: "127.0.0.1", port: 0 },
    metrics: new Metrics({ version: "1" }),
    health: () => undefined,
  });
  await using prometheus = await Prometheus.start(
    formatAddress(server.address),
  );
  try {
    await prometheus.untilTarget("up");
  } finally {
    await server[Symbol.asyncDispose]();
  }
  const { lastError } = await prometheus.untilTarget("down");
  assert(lastError.includes("connection refused"), lastError);
});
