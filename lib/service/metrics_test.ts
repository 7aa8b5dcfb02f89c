/**
 * Tests of the metrics, by the text they are rendered to.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { daemonState, groupState } from "../group/testing.ts";
import { Metrics, METRICS_FORMATS, type MetricsFormat } from "./metrics.ts";

const [OPENMETRICS, PROMETHEUS] = METRICS_FORMATS;

/** Parses the samples of metrics: name and labels, and the value. */
async function samplesOf(
  metrics: Metrics,
  format: MetricsFormat = OPENMETRICS,
): Promise<Record<string, number>> {
  const text = await metrics.render(format);
  const lines = text.split("\n").filter((line) => /^[^#]/.test(line));
  return Object.fromEntries(lines.map((line) => {
    const at = line.lastIndexOf(" ");
    return [line.slice(0, at), Number(line.slice(at + 1))];
  }));
}

/** Asserts some of the samples. */
function assertSamples(
  samples: Record<string, number>,
  expected: Record<string, number | undefined>,
): void {
  const found = Object.fromEntries(
    Object.keys(expected).map((name) => [name, samples[name]]),
  );
  assertEquals(found, expected);
}

Deno.test("metrics show what references and page-ins cost, once that is known", async () => {
  const metrics = new Metrics({ version: "1.2.3" });
  metrics.update(daemonState());
  for (const name of Object.keys(await samplesOf(metrics))) {
    assert(!name.includes("_cost_"), name);
  }
  metrics.update(daemonState({
    costs: {
      reference: 9700,
      pageIns: [
        { from: "swap", device: "zram0", nanoseconds: 10_000 },
        { from: "file", device: "vda", nanoseconds: 160_000 },
      ],
    },
  }));
  for (const format of METRICS_FORMATS) {
    assertSamples(await samplesOf(metrics, format), {
      "rcap_reference_cost_seconds": 9.7e-6,
      'rcap_page_in_cost_seconds{from="swap",device="zram0"}': 1e-5,
      'rcap_page_in_cost_seconds{from="file",device="vda"}': 1.6e-4,
    });
  }
});

Deno.test("metrics show the last state of the daemon and its groups", async () => {
  const metrics = new Metrics({ version: "1.2.3" });
  const browsers = groupState({
    statistics: {
      attempted: 4096,
      effective: 2048,
      scans: 7,
      ineffectiveScans: 2,
      backedOff: 1,
      observationCost: 0.25,
      unenforcedSamples: 3,
    },
  });
  const builds = groupState({
    name: "builds",
    rss: 5,
    warning: "there is no swap",
    cap: null,
    heldBack: [{ by: "pressure", why: "held back by memory pressure" }],
  });
  metrics.update(daemonState({ groups: [browsers] }));
  metrics.update(daemonState({ groups: [browsers, builds] }));
  for (const format of METRICS_FORMATS) {
    assertSamples(await samplesOf(metrics, format), {
      'rcap_build_info{version="1.2.3",pagedata="pte"}': 1,
      'rcap_rss_bytes{group="browsers"}': 2 ** 29,
      'rcap_rss_bytes{group="builds"}': 5,
      'rcap_cap_bytes{group="browsers"}': 2 ** 30,
      'rcap_held_back{group="browsers",by="pressure"}': 0,
      'rcap_held_back{group="builds",by="pressure"}': 1,
      'rcap_held_back{group="builds",by="refaults"}': 0,
      'rcap_processes{group="browsers"}': 3,
      'rcap_warning{group="browsers"}': 0,
      'rcap_warning{group="builds"}': 1,
      'rcap_attempted_bytes_total{group="browsers"}': 4096,
      'rcap_observation_cost_seconds_total{group="browsers"}': 0.25,
      'rcap_effective_bytes_total{group="browsers"}': 2048,
      'rcap_scans_total{group="browsers"}': 7,
      'rcap_scans_total{group="builds"}': 0,
      'rcap_ineffective_scans_total{group="browsers"}': 2,
      'rcap_backed_off_total{group="browsers"}': 1,
      'rcap_unenforced_samples_total{group="browsers"}': 3,
      rcap_process_cpu_seconds_total: 0.25,
      rcap_process_resident_memory_bytes: 50 * 2 ** 20,
      rcap_process_start_time_seconds: 1_700_000_000,
      rcap_process_uptime_seconds: 60,
      rcap_memory_used_bytes: 2 ** 33,
      rcap_swap_total_bytes: 2 ** 32,
      rcap_swap_used_bytes: 2 ** 30,
    });
    assertEquals(
      (await metrics.render(format)).includes('rcap_cap_bytes{group="builds"}'),
      false,
      "it has no cap",
    );
  }
});

Deno.test("containers of groups are labels of a metric of their own", async () => {
  const metrics = new Metrics({ version: "1" });
  const web = groupState({
    name: "web",
    containers: [
      { container: "web", pod: null, namespace: null },
      { container: "nginx", pod: "web-0", namespace: "shop" },
    ],
  });
  metrics.update(daemonState({ groups: [web, groupState({ name: "none" })] }));
  const samples = await samplesOf(metrics);
  assertEquals(
    Object.keys(samples).filter((name) => name.includes("container")),
    [
      'rcap_container_info{group="web",container="web",pod="",namespace=""}',
      'rcap_container_info{group="web",container="nginx",pod="web-0",namespace="shop"}',
    ],
  );
});

Deno.test("a removed group has no metrics, and totals may start anew", async () => {
  const metrics = new Metrics({ version: "1" });
  const gone = groupState({ name: "gone" });
  const again = (scans: number) =>
    groupState({ name: "again", statistics: { scans } });
  metrics.update(daemonState({ groups: [gone, again(9)] }));
  assertSamples(await samplesOf(metrics), {
    'rcap_rss_bytes{group="gone"}': 2 ** 29,
    'rcap_scans_total{group="again"}': 9,
  });
  metrics.update(daemonState({ groups: [again(1)] }));
  const samples = await samplesOf(metrics);
  assertSamples(samples, { 'rcap_scans_total{group="again"}': 1 });
  assert(!Object.keys(samples).some((name) => name.includes("gone")));
});

Deno.test("idle memory is shown by age while ages are kept", async () => {
  const metrics = new Metrics({ version: "1" });
  const aged = groupState({
    name: "aged",
    idle: [{ seconds: 1, bytes: 8192 }, { seconds: 2, bytes: 0 }],
  });
  const other = groupState({ name: "other", idle: null });
  metrics.update(daemonState({ groups: [aged, other] }));
  const idleOf = (samples: Record<string, number>) =>
    Object.entries(samples).filter(([name]) =>
      name.startsWith("rcap_idle_bytes")
    );
  for (const format of METRICS_FORMATS) {
    assertEquals(idleOf(await samplesOf(metrics, format)), [
      ['rcap_idle_bytes{group="aged",seconds="1"}', 8192],
      ['rcap_idle_bytes{group="aged",seconds="2"}', 0],
    ]);
  }
  // Far below the cap, ages are not kept.
  metrics.update(daemonState({ groups: [other] }));
  assertEquals(idleOf(await samplesOf(metrics)), []);
});

Deno.test("scans are counted by duration, and readings add up", async () => {
  const metrics = new Metrics({ version: "1" });
  metrics.observeScan(0.004);
  metrics.observeScan(0.3);
  metrics.observeScan(120);
  metrics.observeRead({ pages: 1000, seconds: 0.5 });
  metrics.observeRead({ pages: 500, seconds: 0.25 });
  // Twice, because readers must not disturb each other.
  for (const format of [OPENMETRICS, PROMETHEUS, OPENMETRICS]) {
    assertSamples(await samplesOf(metrics, format), {
      'rcap_scan_duration_seconds_bucket{le="0.0025"}': 0,
      'rcap_scan_duration_seconds_bucket{le="0.005"}': 1,
      'rcap_scan_duration_seconds_bucket{le="0.5"}': 2,
      'rcap_scan_duration_seconds_bucket{le="60"}': 2,
      'rcap_scan_duration_seconds_bucket{le="+Inf"}': 3,
      rcap_scan_duration_seconds_count: 3,
      rcap_scan_duration_seconds_sum: 120.304,
      rcap_pages_read_total: 1500,
      rcap_page_read_seconds_total: 0.75,
    });
  }
});

Deno.test("before the first report there is build information, but no group", async () => {
  const samples = await samplesOf(new Metrics({ version: "1" }));
  assertSamples(samples, {
    'rcap_build_info{version="1",pagedata="none"}': 1,
    rcap_scan_duration_seconds_count: 0,
    rcap_process_start_time_seconds: undefined,
  });
});

Deno.test("names of groups cannot break the format", async () => {
  const metrics = new Metrics({ version: "1" });
  const name = 'a "b"\\\n{c="d"} 1 größe';
  metrics.update(daemonState({ groups: [groupState({ name })] }));
  assertSamples(await samplesOf(metrics), {
    'rcap_processes{group="a \\"b\\"\\\\\\n{c=\\"d\\"} 1 größe"}': 3,
  });
});

Deno.test("every family has the prefix rcap_, a help text and a type, in either format", async () => {
  const metrics = new Metrics({ version: "1" });
  metrics.update(daemonState({ groups: [groupState()] }));
  const open = await metrics.render(OPENMETRICS);
  const older = await metrics.render(PROMETHEUS);
  assert(open.endsWith("\n# EOF\n"));
  assert(!older.includes("# EOF"));
  // In OpenMetrics, a counter's samples have a suffix, but its family has none.
  assert(open.includes("# TYPE rcap_scans counter\nrcap_scans_total{"));
  assert(older.includes("# TYPE rcap_scans_total counter\nrcap_scans_total{"));
  for (const text of [open, older]) {
    for (const line of text.trimEnd().split("\n")) {
      const ok = line === "" || line === "# EOF" ||
        /^# HELP rcap_\w+ [A-Z1].*\.$/.test(line) ||
        /^# TYPE rcap_\w+ (gauge|counter|histogram)$/.test(line) ||
        /^rcap_\w+(\{[^}]*\})? [\d.e+-]+$/.test(line);
      assert(ok, line);
    }
  }
});
