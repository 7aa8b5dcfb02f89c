/**
 * The metrics of the daemon, for a monitoring system: in the OpenMetrics format, or in
 * the older text format of Prometheus.
 *
 * The daemon keeps its own totals, so the families are built for every reader from its
 * last state. Only single observations are kept here.
 *
 * @module
 */

import { Counter, Gauge, Histogram, Registry } from "prom-client";
import {
  type DaemonState,
  type GroupState,
  GUARD_RAILS,
} from "../group/state.ts";

/** The formats of metrics, by their media types. */
export const METRICS_FORMATS = [
  Registry.OPENMETRICS_CONTENT_TYPE,
  Registry.PROMETHEUS_CONTENT_TYPE,
] as const;
export type MetricsFormat = typeof METRICS_FORMATS[number];

/** From less than the time of one page-out to more than that of a scan, in seconds. */
const SCAN_BUCKETS = [
  0.001,
  0.0025,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10,
  30,
  60,
];

interface Family<T> {
  readonly kind: "gauge" | "counter";
  readonly name: string;
  readonly help: string;
  /** Null if it is not known. */
  readonly value: (of: T) => number | null;
}

/** The families of the daemon as a whole. */
const DAEMON_FAMILIES: readonly Family<DaemonState>[] = [
  {
    kind: "gauge",
    name: "rcap_process_start_time_seconds",
    help: "Start time of rcap, since the epoch.",
    value: ({ startedAt }) => startedAt,
  },
  {
    kind: "gauge",
    name: "rcap_process_uptime_seconds",
    help: "How long rcap had been running at its last report.",
    value: ({ startedAt, updatedAt }) => Math.max(0, updatedAt - startedAt),
  },
  {
    kind: "counter",
    name: "rcap_process_cpu_seconds_total",
    help: "Processor time that rcap itself has used.",
    value: ({ own }) => own.cpu,
  },
  {
    kind: "gauge",
    name: "rcap_process_resident_memory_bytes",
    help: "Resident memory of rcap itself.",
    value: ({ own }) => own.rss,
  },
  {
    kind: "gauge",
    name: "rcap_report_timestamp_seconds",
    help: "Time of the last report, since the epoch.",
    value: ({ updatedAt }) => updatedAt,
  },
  {
    kind: "gauge",
    name: "rcap_memory_total_bytes",
    help: "Physical memory of the machine.",
    value: ({ memory }) => memory.total,
  },
  {
    kind: "gauge",
    name: "rcap_memory_used_bytes",
    help: "Physical memory of the machine that is in use.",
    value: ({ memory }) => memory.used,
  },
  {
    kind: "gauge",
    name: "rcap_swap_total_bytes",
    help: "Size of the machine's swap.",
    value: ({ memory }) => memory.swap?.total ?? null,
  },
  {
    kind: "gauge",
    name: "rcap_swap_used_bytes",
    help: "How much of the machine's swap is in use, by any process.",
    value: ({ memory }) => memory.swap?.used ?? null,
  },
  {
    kind: "gauge",
    name: "rcap_enforcement_threshold_ratio",
    help: "Caps are enforced while more than this share of memory is in use.",
    value: ({ memory }) => memory.threshold,
  },
  {
    kind: "gauge",
    name: "rcap_configuration_loaded_timestamp_seconds",
    help: "Time when the configuration in force was loaded, since the epoch.",
    value: ({ configuration }) => configuration.loadedAt,
  },
  {
    kind: "gauge",
    name: "rcap_configuration_problems",
    help: "Problems in the configuration files that prevent loading them.",
    value: ({ configuration }) => configuration.problems.length,
  },
  {
    kind: "gauge",
    name: "rcap_kubernetes_watching",
    help:
      "1 while the API server of Kubernetes reports changes of pods, else 0; absent without kubernetes = true.",
    value: ({ kubernetes }) =>
      kubernetes === null ? null : kubernetes.isWatching ? 1 : 0,
  },
  {
    kind: "gauge",
    name: "rcap_kubernetes_wrong_annotations",
    help:
      "Pods without a cap because an annotation of theirs is wrong, at most 21; absent without kubernetes = true.",
    value: ({ kubernetes }) => kubernetes?.annotations.length ?? null,
  },
  {
    kind: "gauge",
    name: "rcap_dry_run",
    help: "1 if nothing is paged out since this is a dry run, else 0.",
    value: ({ dryRun }) => dryRun ? 1 : 0,
  },
];

/** The families of each group. */
const GROUP_FAMILIES: readonly Family<GroupState>[] = [
  {
    kind: "gauge",
    name: "rcap_rss_bytes",
    help: "Resident memory that counts against the cap.",
    value: ({ rss }) => rss,
  },
  {
    kind: "gauge",
    name: "rcap_cap_bytes",
    help: "The cap in force; absent without one.",
    value: ({ cap }) => cap,
  },
  {
    kind: "gauge",
    name: "rcap_processes",
    help: "Processes of the group.",
    value: ({ processes }) => processes,
  },
  {
    kind: "gauge",
    name: "rcap_avoided_processes",
    help: "Matching processes left alone because of user.rcap.avoid.",
    value: ({ avoided }) => avoided,
  },
  {
    kind: "gauge",
    name: "rcap_warning",
    help: "1 while there is a warning about the group, else 0.",
    value: ({ warning }) => warning === null ? 0 : 1,
  },
  {
    kind: "gauge",
    name: "rcap_swap_bytes",
    help: "Memory in swap, by the page tables of the processes.",
    value: ({ swap }) => swap,
  },
  {
    kind: "gauge",
    name: "rcap_saved_bytes",
    help:
      "Memory in swap, less what zram and zswap keep of it in memory; absent while that is not known.",
    value: ({ saved }) => saved,
  },
  {
    kind: "gauge",
    name: "rcap_memory_pressure_ratio",
    help:
      "Share of the last ten seconds in which some process of the group's own cgroup, or else of the machine, waited for memory.",
    value: ({ pressure }) => pressure,
  },
  {
    kind: "counter",
    name: "rcap_refaults_total",
    help: "Pages that were paged out and used again; an upper bound.",
    value: ({ statistics }) => statistics.refaults,
  },
  {
    kind: "gauge",
    name: "rcap_unused_growth_processes",
    help:
      "Processes that grow by memory that they do not use again, at most 5.",
    value: ({ growth }) => growth.length,
  },
  {
    kind: "gauge",
    name: "rcap_idle_time_seconds",
    help:
      'The idle time that rcap has found; absent while it learns, and without idle = "auto".',
    value: ({ idleTime }) => idleTime?.seconds ?? null,
  },
  {
    kind: "gauge",
    name: "rcap_idle_time_minutes",
    help: 'From how many minutes that is known; absent without idle = "auto".',
    value: ({ idleTime }) => idleTime?.minutes ?? null,
  },
  {
    kind: "gauge",
    name: "rcap_paused",
    help: "1 while the group is paused by rcap pause, else 0.",
    value: ({ pausedUntil }) => pausedUntil === null ? 0 : 1,
  },
  {
    kind: "gauge",
    name: "rcap_planned_bytes",
    help: "In a dry run, how much would be paged out now to meet the cap.",
    value: ({ planned }) => planned,
  },
  {
    kind: "counter",
    name: "rcap_attempted_bytes_total",
    help: "Memory that scans tried to page out.",
    value: ({ statistics }) => statistics.attempted,
  },
  {
    kind: "counter",
    name: "rcap_effective_bytes_total",
    help: "By how much page-outs lowered resident memory.",
    value: ({ statistics }) => statistics.effective,
  },
  {
    kind: "counter",
    name: "rcap_scans_total",
    help: "Number of scans.",
    value: ({ statistics }) => statistics.scans,
  },
  {
    kind: "counter",
    name: "rcap_ineffective_scans_total",
    help: "Scans that visited every process and did not cover the excess.",
    value: ({ statistics }) => statistics.ineffectiveScans,
  },
  {
    kind: "counter",
    name: "rcap_backed_off_total",
    help:
      "Intervals in which the group was left alone because its cap could not be met.",
    value: ({ statistics }) => statistics.backedOff,
  },
  {
    kind: "counter",
    name: "rcap_observation_cost_seconds_total",
    help: "How much of their time being observed has cost the processes.",
    value: ({ statistics }) => statistics.observationCost,
  },
  {
    kind: "counter",
    name: "rcap_unenforced_samples_total",
    help:
      "Samples over the cap that took nothing, because of the enforcement threshold.",
    value: ({ statistics }) => statistics.unenforcedSamples,
  },
];

/** The daemon's metrics. */
export class Metrics {
  readonly #version: string;
  readonly #scans = new Histogram({
    name: "rcap_scan_duration_seconds",
    help: "How long scans took.",
    buckets: SCAN_BUCKETS,
    registers: [],
  });
  #pagesRead = 0;
  #readSeconds = 0;
  #state: DaemonState | undefined;

  /** @param version the version of rcap, for `rcap_build_info`. */
  constructor({ version }: { version: string }) {
    this.#version = version;
  }

  /** Replaces the state of the daemon and its groups. */
  update(state: DaemonState): void {
    this.#state = state;
  }

  /** Records a scan. */
  observeScan(seconds: number): void {
    this.#scans.observe(seconds);
  }

  /** Records a reading of pagedata. */
  observeRead({ pages, seconds }: { pages: number; seconds: number }): void {
    this.#pagesRead += pages;
    this.#readSeconds += seconds;
  }

  /** Renders all metrics. */
  async render(format: MetricsFormat): Promise<string> {
    const registry = new Registry<MetricsFormat>();
    registry.setContentType(format);
    const into = new Writer(registry);
    into.constant("rcap_build_info", {
      help: "1, with the version of rcap and the source of reference bits.",
      labels: {
        version: this.#version,
        pagedata: this.#state?.pagedata ?? "none",
      },
    });
    into.counter("rcap_pages_read_total", {
      help: "Pages whose reference bits were read.",
      value: this.#pagesRead,
    });
    into.counter("rcap_page_read_seconds_total", {
      help:
        "Processor time that reading these pages took, without waiting for processes.",
      value: this.#readSeconds,
    });
    registry.registerMetric(this.#scans);
    if (this.#state !== undefined) into.state(this.#state);
    return await registry.metrics();
  }
}

/** Adds families to a registry. */
class Writer {
  readonly #registers: Registry<MetricsFormat>[];

  constructor(registry: Registry<MetricsFormat>) {
    this.#registers = [registry];
  }

  /** A family whose value is 1; its labels carry the information. */
  constant(
    name: string,
    { help, labels }: { help: string; labels: Record<string, string> },
  ): void {
    const labelNames = Object.keys(labels);
    new Gauge({ name, help, labelNames, registers: this.#registers })
      .set(labels, 1);
  }

  counter(name: string, { help, value }: { help: string; value: number }) {
    new Counter({ name, help, registers: this.#registers }).inc(value);
  }

  #idle({ groups }: DaemonState): void {
    const family = new Gauge({
      name: "rcap_idle_bytes",
      help: "Memory not used for this many seconds or longer.",
      labelNames: ["group", "seconds"],
      registers: this.#registers,
    });
    for (const { name, idle } of groups) {
      for (const { seconds, bytes } of idle ?? []) {
        family.set({ group: name, seconds: `${seconds}` }, bytes);
      }
    }
  }

  /** Every guard rail of every group, so that none is missing while it does not hold. */
  #heldBack({ groups }: DaemonState): void {
    const family = new Gauge({
      name: "rcap_held_back",
      help:
        "1 while a guard rail holds rcap back from paging out more, else 0.",
      labelNames: ["group", "by"],
      registers: this.#registers,
    });
    for (const { name, heldBack } of groups) {
      for (const by of GUARD_RAILS) {
        const holds = heldBack.some((one) => one.by === by);
        family.set({ group: name, by }, holds ? 1 : 0);
      }
    }
  }

  #containers({ groups }: DaemonState): void {
    const family = new Gauge({
      name: "rcap_container_info",
      help:
        "1 for each container of the group, at most 20, with its pod and namespace in Kubernetes.",
      labelNames: ["group", "container", "pod", "namespace"],
      registers: this.#registers,
    });
    for (const { name, containers } of groups) {
      for (const { container, pod, namespace } of containers) {
        const labels = {
          group: name,
          container: container ?? "",
          pod: pod ?? "",
          namespace: namespace ?? "",
        };
        family.set(labels, 1);
      }
    }
  }

  /** What was measured; nothing before. */
  #costs({ costs }: DaemonState): void {
    if (costs === null) return;
    const registers = this.#registers;
    new Gauge({
      name: "rcap_reference_cost_seconds",
      help:
        "By how much longer the first reference to a page takes after its bit was reset.",
      registers,
    }).set(costs.reference / 1e9);
    const family = new Gauge({
      name: "rcap_page_in_cost_seconds",
      help: "What the first reference to a page takes that was paged out.",
      labelNames: ["from", "device"],
      registers,
    });
    for (const { from, device, nanoseconds } of costs.pageIns) {
      family.set({ from, device }, nanoseconds / 1e9);
    }
  }

  state(state: DaemonState): void {
    for (const { kind, name, help, value } of DAEMON_FAMILIES) {
      const options = { name, help, registers: this.#registers };
      const known = value(state);
      if (known === null) continue;
      if (kind === "gauge") new Gauge(options).set(known);
      else new Counter(options).inc(known);
    }
    this.#costs(state);
    this.#idle(state);
    this.#heldBack(state);
    this.#containers(state);
    for (const { kind, name, help, value } of GROUP_FAMILIES) {
      const labelNames = ["group"];
      const options = { name, help, labelNames, registers: this.#registers };
      const family = kind === "gauge" ? new Gauge(options) : undefined;
      const counter = family ?? new Counter(options);
      for (const one of state.groups) {
        const labels = { group: one.name };
        const known = value(one);
        if (known === null) continue;
        if (family) family.set(labels, known);
        else counter.inc(labels, known);
      }
    }
  }
}
