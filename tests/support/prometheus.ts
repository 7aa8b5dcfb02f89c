/**
 * A Prometheus from Debian's packages that scrapes a test's target.
 *
 * @module
 */

import "./deadline.ts";
import { fetchPackages } from "../vm/debian.ts";

/** How long Prometheus may take for anything, in milliseconds. */
const PATIENCE_MS = 60_000;

/** Time between two polls, in milliseconds. */
const POLL_MS = 100;

/** A target as Prometheus sees it: `/api/v1/targets`. */
export interface Target {
  health: "up" | "down" | "unknown";
  lastError: string;
}

/** A sample: its labels and its value. */
export interface Sample {
  labels: Record<string, string>;
  value: number;
}

/** An alert rule as Prometheus has evaluated it: `/api/v1/rules`. */
export interface Rule {
  name: string;
  health: "ok" | "err" | "unknown";
  lastError?: string;
}

/** An answer of the HTTP API. */
interface Answer<T> {
  status: "success" | "error";
  data: T;
  error?: string;
}

/**
 * A running Prometheus with its own data folder; disposing kills it and removes the
 * folder.
 *
 * @example
 * ```ts
 * await using prometheus = await Prometheus.start("127.0.0.1:7227");
 * await prometheus.until("rcap_scans_total", ([sample]) => sample?.value === 3);
 * ```
 */
export class Prometheus implements AsyncDisposable {
  readonly #held = new AsyncDisposableStack();
  readonly #url: string;
  readonly #complaints: Promise<string>;
  #hasEnded = false;

  private constructor(program: string, { targets, rules, folder, port }: {
    targets: readonly string[];
    rules: readonly string[];
    folder: string;
    port: number;
  }) {
    this.#url = `http://127.0.0.1:${port}/api/v1`;
    this.#held.defer(() => Deno.remove(folder, { recursive: true }));
    Deno.writeTextFileSync(
      `${folder}/prometheus.yml`,
      JSON.stringify({
        global: {
          scrape_interval: "1s",
          scrape_timeout: "1s",
          evaluation_interval: "1s",
        },
        rule_files: rules,
        scrape_configs: [{
          job_name: "rcap",
          static_configs: [{ targets }],
        }],
      }),
    );
    const process = new Deno.Command(program, {
      args: [
        `--config.file=${folder}/prometheus.yml`,
        `--storage.tsdb.path=${folder}/data`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#complaints = process.stderr.text();
    const status = process.status.finally(() => this.#hasEnded = true);
    this.#held.defer(async () => {
      if (!this.#hasEnded) process.kill("SIGKILL");
      await status;
      await this.#complaints;
    });
  }

  /**
   * Starts Prometheus and waits until it answers.
   *
   * @param target host and port to scrape, or those of several targets.
   * @param options.rules files of rules to evaluate.
   */
  static async start(
    target: string | readonly string[],
    { rules = [] }: { rules?: readonly string[] } = {},
  ): Promise<Prometheus> {
    await using cleanup = new AsyncDisposableStack();
    const prometheus = cleanup.use(
      new Prometheus(await programOf("prometheus"), {
        targets: [target].flat(),
        rules,
        folder: Deno.makeTempDirSync({ prefix: "rcap-prometheus-" }),
        port: freePort(),
      }),
    );
    await prometheus.#eventually(
      () => prometheus.#get("targets"),
      "it to answer",
    );
    cleanup.move();
    return prometheus;
  }

  /** Waits until the target is up or down. */
  async untilTarget(health: Target["health"]): Promise<Target> {
    return await this.#eventually(async () => {
      const { activeTargets: [target] } = await this.#get<
        { activeTargets: Target[] }
      >("targets");
      return target?.health === health ? target : undefined;
    }, `the target to be ${health}`);
  }

  /** Waits until the result of a query satisfies a condition. */
  async until(
    query: string,
    condition: (samples: Sample[]) => boolean,
  ): Promise<Sample[]> {
    return await this.#eventually(async () => {
      const samples = await this.query(query);
      return condition(samples) ? samples : undefined;
    }, `what it waits for of ${query}`);
  }

  /** Returns the current result of a query. */
  async query(query: string): Promise<Sample[]> {
    const { result } = await this.#get<{
      result: { metric: Record<string, string>; value: [number, string] }[];
    }>(`query?query=${encodeURIComponent(query)}`);
    return result.map(({ metric, value: [, value] }) => ({
      labels: metric,
      value: Number(value),
    }));
  }

  /** Returns the types of the target's metric families, by name. */
  async types(): Promise<Record<string, string>> {
    const families = await this.#get<{ metric: string; type: string }[]>(
      `targets/metadata?match_target=${encodeURIComponent('{job="rcap"}')}`,
    );
    return Object.fromEntries(
      families.map(({ metric, type }) => [metric, type]),
    );
  }

  /** Returns the values of a label of the series that a selector matches. */
  async labelValues(label: string, selector: string): Promise<string[]> {
    return await this.#get(
      `label/${label}/values?match[]=${encodeURIComponent(selector)}`,
    );
  }

  /** Waits until all rules have been evaluated, and returns them. */
  async rules(): Promise<Rule[]> {
    return await this.#eventually(async () => {
      const { groups } = await this.#get<{ groups: { rules: Rule[] }[] }>(
        "rules",
      );
      const rules = groups.flatMap(({ rules }) => rules);
      return rules.every(({ health }) => health !== "unknown")
        ? rules
        : undefined;
    }, "all rules to be evaluated");
  }

  async #get<T>(path: string): Promise<T> {
    const response = await fetch(`${this.#url}/${path}`);
    const answer: Answer<T> = await response.json();
    if (answer.status !== "success") {
      throw new Error(`${path}: ${answer.error}`);
    }
    return answer.data;
  }

  /** Repeats a step until it returns a value. */
  async #eventually<T>(
    step: () => Promise<T | undefined>,
    what: string,
  ): Promise<T> {
    const end = performance.now() + PATIENCE_MS;
    while (performance.now() < end) {
      if (this.#hasEnded) {
        throw new Error(`Prometheus has ended:\n${await this.#complaints}`);
      }
      // It may not listen yet or have no metrics yet.
      const value = await step().catch(() => undefined);
      if (value !== undefined) return value;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    throw new Error(`Prometheus: ${what}: not within ${PATIENCE_MS} ms`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#held.disposeAsync();
  }
}

/** Runs promtool and returns what it prints, and whether it found everything right. */
export async function promtool(
  ...args: string[]
): Promise<{ success: boolean; text: string }> {
  const { success, stdout, stderr } = await new Deno.Command(
    await programOf("promtool"),
    { args, stdin: "null" },
  ).output();
  const decoder = new TextDecoder();
  return { success, text: decoder.decode(stdout) + decoder.decode(stderr) };
}

/** A program of the package; it needs nothing but the C library. */
async function programOf(name: "prometheus" | "promtool"): Promise<string> {
  const tree = await fetchPackages({
    release: "bookworm",
    name: "prometheus",
    packages: ["prometheus"],
    only: /^prometheus$/,
  });
  return `${tree}/usr/bin/${name}`;
}

/** Returns a port on which nothing listens now. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
