/**
 * Tests of what is in `deploy` for Grafana and Prometheus: the alerts by promtool, and
 * both on a real Prometheus that scrapes real daemons.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { DASHBOARD, dashboardText } from "../../scripts/dashboard.ts";
import { cap, quicklyBy, TestDaemon } from "../support/daemon.ts";
import { MIB, requireRoot } from "../support/live.ts";
import { Prometheus, promtool } from "../support/prometheus.ts";
import { zramSwap } from "../support/swap.ts";
import { Workload } from "../support/workload.ts";

requireRoot();

const PROMETHEUS = new URL("../../deploy/prometheus/", import.meta.url)
  .pathname;
const RULES = `${PROMETHEUS}rcap.rules.yml`;

/** A range that reaches back before the first scan of this test. */
const RATE_INTERVAL = "2m";

/** The parts of a dashboard that are used. */
interface Dashboard {
  templating: { list: { name: string; query: string | { query: string } }[] };
  panels: { title: string; type: string; targets?: { expr: string }[] }[];
}

const dashboard: Dashboard = JSON.parse(Deno.readTextFileSync(DASHBOARD));

/** The names of rcap's metrics in a text. */
function metricsIn(text: string): Set<string> {
  return new Set(text.match(/\brcap_[a-z_]+\b(?!\.)/g));
}

Deno.test("the dashboard in deploy is the one that its script makes", () => {
  assertEquals(
    Deno.readTextFileSync(DASHBOARD),
    dashboardText(),
    "run: scripts/denow task dashboard",
  );
});

Deno.test("the alerts are valid, and fire when they should", async () => {
  const check = await promtool("check", "rules", RULES);
  assert(check.success, check.text);
  const test = await promtool(
    "test",
    "rules",
    `${PROMETHEUS}rcap.rules.test.yml`,
  );
  assert(test.success, test.text);
});

Deno.test("every alert has a test that it fires, and one that it does not", () => {
  const tests = Deno.readTextFileSync(`${PROMETHEUS}rcap.rules.test.yml`);
  const alerts = [
    ...Deno.readTextFileSync(RULES).matchAll(/- alert: (\w+)/g),
  ].map(([, name]) => name);
  assertEquals(alerts.length, 8);
  for (const alert of alerts) {
    const parts = tests.split(`- alertname: ${alert}\n`).slice(1);
    const fires = parts.map((part) =>
      part.split("- alertname:")[0].includes("exp_alerts")
    );
    assertEquals(new Set(fires), new Set([true, false]), alert);
  }
});

Deno.test("Prometheus has data for every panel, and no trouble with any alert", async () => {
  await using _swap = await zramSwap({ size: 256 * MIB, priority: 32_767 });
  await using workload = await Workload.start();
  await using planned = await Workload.start();
  await planned.anon("cold", 64 * MIB);
  const quickly = quicklyBy("coldest").replace(
    "[daemon]",
    '[daemon]\nenforcement_threshold = "1%"',
  );
  await using daemon = await TestDaemon.start({
    config: quickly + cap("busy", [`pid:${workload.pid}`], "48M"),
    args: ["--metrics", "0"],
  });
  await using dry = await TestDaemon.start({
    config: quickly + cap("planned", [`pid:${planned.pid}`], "32M"),
    args: ["--metrics", "0", "--dry-run"],
  });
  const targets = [
    `127.0.0.1:${await daemon.listeningPort()}`,
    `127.0.0.1:${await dry.listeningPort()}`,
  ];
  await using prometheus = await Prometheus.start(targets, { rules: [RULES] });
  await prometheus.until("rcap_scans_total", ({ length }) => length === 2);

  // Only now is there something to page out, so that rates have a beginning.
  await workload.anon("hot", 16 * MIB);
  await workload.hot("hot");
  await workload.anon("cold", 64 * MIB);
  await daemon.untilGroup(
    "busy",
    ({ rss, swap, statistics }) =>
      rss <= 48 * MIB && (swap ?? 0) > 16 * MIB && statistics.scans > 0,
    "the cap to be met",
  );

  // The variables as Grafana fills them, with All.
  const [source, ...variables] = dashboard.templating.list;
  assertEquals(source.name, "datasource");
  const values = new Map<string, string>();
  for (const { name, query } of variables) {
    assert(typeof query === "object");
    const [, selector, label] =
      /^label_values\((.*), (\w+)\)$/.exec(query.query) ?? [];
    assert(label !== undefined, query.query);
    const found = await prometheus.labelValues(
      label,
      filled(selector, values),
    );
    assertEquals(found.length, 2, `${name}: ${found}`);
    values.set(name, `(${found.map(escaped).join("|")})`);
  }

  let queries = 0;
  for (const { title, type, targets } of dashboard.panels) {
    if (type === "row") continue;
    assert(targets !== undefined && targets.length > 0, title);
    for (const { expr } of targets) {
      const query = filled(expr, values);
      assert(!query.includes("$"), query);
      await prometheus.until(
        query,
        (samples) =>
          samples.length > 0 &&
          samples.every(({ value }) => Number.isFinite(value)),
      );
      queries++;
    }
  }
  assert(queries > 30, `${queries}`);

  const [resident] = await prometheus.query(
    filled(
      'sum(rcap_rss_bytes{group=~"$group",instance=~"$instance"})',
      values,
    ),
  );
  assert(resident.value > 64 * MIB, `${resident.value}`);

  const rules = await prometheus.rules();
  assertEquals(rules.length, 8);
  for (const { name, health, lastError } of rules) {
    assertEquals([health, lastError ?? ""], ["ok", ""], name);
  }
  const known = new Set(
    await prometheus.labelValues("__name__", '{job="rcap"}'),
  );
  const texts = [RULES, DASHBOARD].map((file) => Deno.readTextFileSync(file));
  for (const name of metricsIn(texts.join("\n"))) {
    assert(known.has(name), `rcap has no metric ${name}`);
  }

  // What the machine has, as the kernel says.
  const [total] = await prometheus.query("max(rcap_swap_total_bytes)");
  assertStringIncludes(
    Deno.readTextFileSync("/proc/meminfo").replace(/ +/g, " "),
    `SwapTotal: ${total.value / 1024} kB`,
  );
});

/** Fills the variables of a query. */
function filled(query: string, values: ReadonlyMap<string, string>): string {
  return query.replace(
    /\$(\w+)/g,
    (whole, name) =>
      name === "__rate_interval" ? RATE_INTERVAL : values.get(name) ?? whole,
  );
}

/** A value as a part of a pattern in a query, escaped as Grafana does. */
function escaped(value: string): string {
  return value.replace(/[\\^$*+?.()|[\]{}]/g, "\\\\$&");
}
