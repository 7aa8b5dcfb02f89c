/**
 * The dashboard for Grafana: writes `deploy/grafana/rcap.json`.
 *
 *     scripts/denow task dashboard
 *
 * The types are those of `@grafana/schema`, so that the type check finds what Grafana
 * does not know. In a query, `$instance` and `$group` are patterns: both variables allow
 * several values.
 *
 * @module
 */

import {
  type Dashboard,
  type Panel,
  type RowPanel,
  SortOrder,
  TableCellDisplayMode,
  ThresholdsMode,
  TooltipDisplayMode,
  VariableHide,
  type VariableModel,
  VariableRefresh,
  VariableSort,
  VisibilityMode,
} from "@grafana/schema";
import type * as StateTimeline from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type * as Stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as Table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as TimeSeries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";
import { say } from "../tests/support/say.ts";

/** Where the dashboard is. */
export const DASHBOARD = new URL(
  "../deploy/grafana/rcap.json",
  import.meta.url,
);

/** A query of a panel. */
export interface Query {
  readonly expr: string;
  /** The name of its series: labels in double braces. */
  readonly legend?: string;
}

/** The width of a dashboard in the units of its grid. */
const WIDTH = 24;

const SOURCE = { type: "prometheus", uid: "${datasource}" };

/** Selects the machines; all metrics have these labels. */
const MACHINES = 'job="rcap",instance=~"$instance"';

/** Selects the machines and the caps. */
const CAPS = `${MACHINES},group=~"$group"`;

const EACH = "{{instance}} {{group}}";

/** The units of Grafana: packages/grafana-data/src/valueFormats/categories.ts. */
type Unit = "bytes" | "Bps" | "percentunit" | "s" | "short" | "cps" | "none";

interface Drawn {
  readonly title: string;
  readonly description: string;
  readonly unit: Unit;
  readonly queries: readonly Query[];
}

/** A variable whose values are those of a label. */
function labelVariable(
  name: string,
  { label, metric }: { label: string; metric: string },
): VariableModel {
  return {
    name,
    label,
    type: "query",
    datasource: SOURCE,
    query: {
      query: `label_values(${metric}, ${name})`,
      refId: name,
    },
    refresh: VariableRefresh.onTimeRangeChanged,
    sort: VariableSort.alphabeticalAsc,
    multi: true,
    includeAll: true,
    allValue: ".*",
    current: { text: ["All"], value: ["$__all"] },
    hide: VariableHide.dontHide,
  };
}

const VARIABLES: readonly VariableModel[] = [
  {
    name: "datasource",
    label: "Source",
    type: "datasource",
    query: SOURCE.type,
  },
  labelVariable("instance", {
    label: "Machine",
    metric: 'rcap_build_info{job="rcap"}',
  }),
  labelVariable("group", {
    label: "Cap",
    metric: 'rcap_rss_bytes{job="rcap",instance=~"$instance"}',
  }),
];

/** The queries of a panel as Grafana has them. */
function targetsOf(
  queries: readonly Query[],
  more: Record<string, unknown> = {},
): Panel["targets"] {
  return queries.map(({ expr, legend }, index) => ({
    refId: String.fromCharCode(65 + index),
    datasource: SOURCE,
    expr,
    legendFormat: legend ?? "__auto",
    ...more,
  }));
}

/** One number; red from a value on if it names one. */
function number(
  { title, description, unit, queries, red }: Drawn & { red?: number },
): Panel {
  const steps = [
    { color: "green", value: null },
    ...red === undefined ? [] : [{ color: "red", value: red }],
  ];
  return {
    type: "stat",
    title,
    description,
    datasource: SOURCE,
    targets: targetsOf(queries, { instant: true }),
    fieldConfig: {
      defaults: {
        unit,
        thresholds: { mode: ThresholdsMode.Absolute, steps },
      },
      overrides: [],
    },
    options: {
      reduceOptions: { calcs: ["lastNotNull"] },
    } satisfies Partial<Stat.Options>,
  };
}

/** Lines over time. */
function lines({ title, description, unit, queries }: Drawn): Panel {
  return {
    type: "timeseries",
    title,
    description,
    datasource: SOURCE,
    targets: targetsOf(queries),
    fieldConfig: {
      defaults: {
        unit,
        min: 0,
        custom: { fillOpacity: 8 } satisfies TimeSeries.FieldConfig,
      },
      overrides: [],
    },
    options: {
      legend: { showLegend: true, placement: "bottom", calcs: ["lastNotNull"] },
      tooltip: { mode: TooltipDisplayMode.Multi, sort: SortOrder.Descending },
    } satisfies Partial<TimeSeries.Options>,
  };
}

/** What holds over time: a bar for each series, red while it is 1. */
function timeline({ title, description, queries }: Omit<Drawn, "unit">): Panel {
  return {
    type: "state-timeline",
    title,
    description,
    datasource: SOURCE,
    targets: targetsOf(queries),
    fieldConfig: {
      defaults: {
        thresholds: {
          mode: ThresholdsMode.Absolute,
          steps: [{ color: "green", value: null }, { color: "red", value: 1 }],
        },
      },
      overrides: [],
    },
    options: {
      showValue: VisibilityMode.Never,
      mergeValues: true,
    } satisfies Partial<StateTimeline.Options>,
  };
}

/** A table with a row for each cap and a column for each query, named by its legend. */
function table({ title, description, unit, queries }: Drawn): Panel {
  const columns = queries.map(({ legend = "" }, index) => [
    `Value #${String.fromCharCode(65 + index)}`,
    legend,
  ]);
  return {
    type: "table",
    title,
    description,
    datasource: SOURCE,
    targets: targetsOf(queries, { instant: true, format: "table" }),
    transformations: [
      { id: "merge", options: {} },
      {
        id: "organize",
        options: {
          excludeByName: { Time: true, job: true },
          renameByName: Object.fromEntries(columns),
        },
      },
    ],
    fieldConfig: {
      defaults: {
        unit,
        custom: {
          cellOptions: { type: TableCellDisplayMode.Auto },
        } satisfies Partial<Table.FieldConfig>,
      },
      overrides: [],
    },
    options: { showHeader: true } satisfies Partial<Table.Options>,
  };
}

/** A heading with its panels, from left to right. */
interface Section {
  readonly heading: string;
  readonly height: number;
  readonly perLine: number;
  readonly panels: readonly Panel[];
}

const SECTIONS: readonly Section[] = [
  {
    heading: "Now",
    height: 4,
    perLine: 6,
    panels: [
      number({
        title: "Machines",
        description: "Daemons that Prometheus can scrape.",
        unit: "none",
        queries: [{ expr: `sum(up{${MACHINES}})` }],
      }),
      number({
        title: "Resident under caps",
        description: "Resident memory of all selected groups.",
        unit: "bytes",
        queries: [{ expr: `sum(rcap_rss_bytes{${CAPS}})` }],
      }),
      number({
        title: "In swap",
        description: "Memory of the selected groups that is in swap.",
        unit: "bytes",
        queries: [{ expr: `sum(rcap_swap_bytes{${CAPS}})` }],
      }),
      number({
        title: "Saved",
        description:
          "Memory in swap, less what zram and zswap keep of it in memory.",
        unit: "bytes",
        queries: [{ expr: `sum(rcap_saved_bytes{${CAPS}})` }],
      }),
      number({
        title: "Caps with a warning",
        description: "rcap stat shows the warnings.",
        unit: "none",
        red: 1,
        queries: [{ expr: `sum(rcap_warning{${CAPS}})` }],
      }),
      number({
        title: "May leak",
        description:
          "Processes that grow by memory that they do not use again.",
        unit: "none",
        red: 1,
        queries: [{ expr: `sum(rcap_unused_growth_processes{${CAPS}})` }],
      }),
    ],
  },
  {
    heading: "Caps",
    height: 9,
    perLine: 2,
    panels: [
      table({
        title: "Caps",
        description:
          "Idle is what was not used for the time; only the policy coldest knows it.",
        unit: "bytes",
        queries: [
          ["resident", `rcap_rss_bytes{${CAPS}}`],
          ["cap", `rcap_cap_bytes{${CAPS}}`],
          ["swap", `rcap_swap_bytes{${CAPS}}`],
          ["idle for a minute", `rcap_idle_bytes{${CAPS},seconds="60"}`],
        ].map(([legend, selector]) => ({
          legend,
          expr: `sum by (instance, group) (${selector})`,
        })),
      }),
      lines({
        title: "Resident memory and cap",
        description:
          "Resident memory that counts against the cap, and the cap.",
        unit: "bytes",
        queries: [
          { expr: `rcap_rss_bytes{${CAPS}}`, legend: EACH },
          { expr: `rcap_cap_bytes{${CAPS}}`, legend: `${EACH} cap` },
        ],
      }),
      lines({
        title: "Share of the cap",
        description: "Above 100 % the cap is not met.",
        unit: "percentunit",
        queries: [{
          expr: `rcap_rss_bytes{${CAPS}} / rcap_cap_bytes{${CAPS}}`,
          legend: EACH,
        }],
      }),
      lines({
        title: "Idle memory",
        description:
          "Memory that was not used for a time; only the policy coldest knows it.",
        unit: "bytes",
        queries: [{
          expr:
            `sum by (seconds) (rcap_idle_bytes{${CAPS},seconds=~"10|60|300|3600|14400|86400"})`,
          legend: "{{seconds}} s",
        }],
      }),
      lines({
        title: "Paged out",
        description:
          "By how much page-outs lowered resident memory, and what scans tried.",
        unit: "Bps",
        queries: [
          {
            expr: `rate(rcap_effective_bytes_total{${CAPS}}[$__rate_interval])`,
            legend: EACH,
          },
          {
            expr: `rate(rcap_attempted_bytes_total{${CAPS}}[$__rate_interval])`,
            legend: `${EACH} tried`,
          },
        ],
      }),
      lines({
        title: "Refaults",
        description:
          "Pages a second that were paged out and used again; an upper bound.",
        unit: "cps",
        queries: [{
          expr: `rate(rcap_refaults_total{${CAPS}}[$__rate_interval])`,
          legend: EACH,
        }],
      }),
      lines({
        title: "Memory in swap, and what it saves",
        description:
          "Saved is what is in swap, less what zram and zswap keep of it in memory.",
        unit: "bytes",
        queries: [
          { expr: `rcap_swap_bytes{${CAPS}}`, legend: `${EACH} in swap` },
          { expr: `rcap_saved_bytes{${CAPS}}`, legend: `${EACH} saved` },
        ],
      }),
      lines({
        title: "Memory pressure",
        description:
          "Share of the last ten seconds in which some process waited for memory: in the group's own cgroup, or on the machine.",
        unit: "percentunit",
        queries: [{
          expr: `rcap_memory_pressure_ratio{${CAPS}}`,
          legend: EACH,
        }],
      }),
      timeline({
        title: "Warnings and pauses",
        description: "Red while there is a warning, or while a cap is paused.",
        queries: [
          { expr: `rcap_warning{${CAPS}}`, legend: `${EACH} warning` },
          { expr: `rcap_paused{${CAPS}}`, legend: `${EACH} paused` },
        ],
      }),
      timeline({
        title: "Held back",
        description:
          "Red while a guard rail holds rcap back from paging out more.",
        queries: [{
          expr: `max by (instance, by) (rcap_held_back{${CAPS}})`,
          legend: "{{instance}} {{by}}",
        }],
      }),
      lines({
        title: "Would be paged out",
        description: "What dry runs would page out now to meet the caps.",
        unit: "bytes",
        queries: [{ expr: `rcap_planned_bytes{${CAPS}}`, legend: EACH }],
      }),
      lines({
        title: "Processes",
        description: "Processes of the groups.",
        unit: "none",
        queries: [{ expr: `rcap_processes{${CAPS}}`, legend: EACH }],
      }),
    ],
  },
  {
    heading: "Machines",
    height: 8,
    perLine: 2,
    panels: [
      lines({
        title: "Memory in use",
        description: "Share of the machine's physical memory.",
        unit: "percentunit",
        queries: [
          {
            expr:
              `rcap_memory_used_bytes{${MACHINES}} / rcap_memory_total_bytes{${MACHINES}}`,
            legend: "{{instance}}",
          },
          {
            expr: `rcap_enforcement_threshold_ratio{${MACHINES}} > 0`,
            legend: "{{instance}} threshold",
          },
        ],
      }),
      lines({
        title: "Swap in use",
        description: "Share of the machine's swap.",
        unit: "percentunit",
        queries: [{
          expr:
            `rcap_swap_used_bytes{${MACHINES}} / (rcap_swap_total_bytes{${MACHINES}} > 0)`,
          legend: "{{instance}}",
        }],
      }),
    ],
  },
  {
    heading: "What rcap costs",
    height: 8,
    perLine: 2,
    panels: [
      lines({
        title: "Processor time of rcap",
        description: "Share of one processor that the daemon uses.",
        unit: "percentunit",
        queries: [{
          expr:
            `rate(rcap_process_cpu_seconds_total{${MACHINES}}[$__rate_interval])`,
          legend: "{{instance}}",
        }],
      }),
      lines({
        title: "Resident memory of rcap",
        description: "Resident memory of the daemon.",
        unit: "bytes",
        queries: [{
          expr: `rcap_process_resident_memory_bytes{${MACHINES}}`,
          legend: "{{instance}}",
        }],
      }),
      lines({
        title: "Time that observation costs processes",
        description:
          "Seconds a second that processes spend on being observed, all of a group together.",
        unit: "percentunit",
        queries: [{
          expr:
            `rate(rcap_observation_cost_seconds_total{${CAPS}}[$__rate_interval])`,
          legend: EACH,
        }],
      }),
      lines({
        title: "First reference after a page-out",
        description:
          "What the first reference to a page takes that was paged out.",
        unit: "s",
        queries: [{
          expr: `rcap_page_in_cost_seconds{${MACHINES}}`,
          legend: "{{instance}} {{from}} {{device}}",
        }],
      }),
      lines({
        title: "Duration of scans",
        description: "The slowest of twenty scans takes longer, on average.",
        unit: "s",
        queries: [{
          expr:
            `histogram_quantile(0.95, sum by (instance, le) (rate(rcap_scan_duration_seconds_bucket{${MACHINES}}[$__rate_interval])))`,
          legend: "{{instance}}",
        }],
      }),
      lines({
        title: "Time to read a page",
        description:
          "Processor time of the kernel and of rcap for each page whose references were read.",
        unit: "s",
        queries: [{
          expr:
            `rate(rcap_page_read_seconds_total{${MACHINES}}[$__rate_interval]) / (rate(rcap_pages_read_total{${MACHINES}}[$__rate_interval]) > 0)`,
          legend: "{{instance}}",
        }],
      }),
    ],
  },
];

/** Lays sections out, one below the other. */
function arranged(sections: readonly Section[]): (Panel | RowPanel)[] {
  let y = 0;
  let id = 0;
  return sections.flatMap(({ heading, height, perLine, panels }) => {
    const w = WIDTH / perLine;
    const row: RowPanel = {
      type: "row",
      id: ++id,
      title: heading,
      collapsed: false,
      gridPos: { x: 0, y, w: WIDTH, h: 1 },
      panels: [],
    };
    y++;
    const placed = panels.map((panel, index) => ({
      ...panel,
      id: ++id,
      gridPos: {
        x: index % perLine * w,
        y: y + Math.floor(index / perLine) * height,
        w,
        h: height,
      },
    }));
    y += Math.ceil(panels.length / perLine) * height;
    return [row, ...placed];
  });
}

/** Makes the dashboard. */
export function dashboard(): Dashboard {
  return {
    uid: "rcap",
    title: "rcap",
    description: "Caps of resident memory: what they hold, save and cost.",
    tags: ["rcap", "memory"],
    schemaVersion: 39,
    editable: true,
    refresh: "30s",
    time: { from: "now-6h", to: "now" },
    templating: { list: [...VARIABLES] },
    panels: arranged(SECTIONS),
  };
}

/** The text of its file. */
export function dashboardText(): string {
  return `${JSON.stringify(dashboard(), null, 2)}\n`;
}

if (import.meta.main) {
  Deno.writeTextFileSync(DASHBOARD, dashboardText());
  say(`Wrote ${DASHBOARD.pathname}`);
}
