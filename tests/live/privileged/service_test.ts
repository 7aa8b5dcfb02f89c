/**
 * Tests of the daemon as a service: under systemd with its unit, scraped by
 * Prometheus, and with logs for programs.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { cap, Place, QUICKLY, TestDaemon } from "../../support/daemon.ts";
import { assertIntact, MIB, requireRoot } from "../../support/live.ts";
import { Prometheus } from "../../support/prometheus.ts";
import { commandLine, rcap } from "../../support/rcap.ts";
import { ServiceManager } from "../../support/service_manager.ts";
import { anySwap } from "../../support/swap.ts";
import { pssOf, until, Workload } from "../../support/workload.ts";

requireRoot();

Deno.test("Prometheus sees what the daemon does", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using workload = await Workload.start();
  await workload.anon("cold", 96 * MIB);
  await using daemon = await TestDaemon.start({
    config: QUICKLY + cap("one", [`pid:${workload.pid}`], "64M"),
    args: ["--metrics", "0", "--log-format", "json"],
  });
  // The log shows the chosen port; the state does not.
  const port = await daemon.listeningPort();
  await using prometheus = await Prometheus.start(`127.0.0.1:${port}`);
  await prometheus.untilTarget("up");
  await prometheus.until(
    'rcap_rss_bytes{group="one"}',
    ([sample]) => sample?.value <= 65 * MIB,
  );
  await prometheus.until(
    'rcap_effective_bytes_total{group="one"}',
    ([sample]) => sample?.value >= 24 * MIB,
  );
  await prometheus.until(
    "rcap_scan_duration_seconds_count",
    ([sample]) => sample?.value >= 1,
  );
  await prometheus.until(
    "rcap_pages_read_total",
    ([sample]) => sample?.value >= 16 * 1024,
  );
  const health = await fetch(`http://127.0.0.1:${port}/healthz`);
  assertEquals([health.status, await health.text()], [200, "ok\n"]);
  // A stopped daemon is not healthy, and its metrics are not served.
  const { code, stderr } = await daemon.stop();
  assertEquals(code, 0);
  const events = stderr.trim().split("\n").map((line) => JSON.parse(line));
  assert(
    events.every(({ time, level, message }) =>
      !Number.isNaN(Date.parse(time)) && level === "info" && message !== ""
    ),
  );
  // A large excess goes in several scans.
  const scans = events.filter(({ group }) => group === "one");
  const effective = scans.reduce((sum, scan) => sum + scan.effective, 0);
  assert(effective > 24 * MIB && scans[0].seconds > 0, stderr);
  await prometheus.untilTarget("down");
  await assertIntact(workload);
});

Deno.test("under systemd, with the unit that it prints, the daemon keeps caps", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using workload = await Workload.start();
  await workload.anon("cold", 96 * MIB);
  await using manager = await ServiceManager.start();
  // A place that the unit lets it read.
  const folder = "/var/lib/rcap-test-unit";
  using place = new Place(folder);
  const config = (size: string) =>
    QUICKLY + cap("one", [`pid:${workload.pid}`], size);
  Deno.writeTextFileSync(place.config, config("1G"));
  const { stdout } = await rcap([
    "run",
    "--config",
    place.config,
    "--print-unit",
  ]);
  // From source, systemd starts Deno.
  const unit = Deno.env.has("RCAP_BIN")
    ? stdout
    : stdout.replace(/^(ExecStart=\S+)/m, `$1 ${sourceArguments()}`);
  await manager.install("rcap.service", unit);
  const started = await manager.systemctl("start", "rcap.service");
  assertEquals(started, { code: 0, stdout: "", stderr: "" });
  assertStringIncludes(
    await manager.property("rcap.service", "StatusText"),
    "watching 1 group",
  );
  Deno.writeTextFileSync(place.config, config("64M"));
  assertEquals(
    (await manager.systemctl("reload", "rcap.service")).code,
    0,
  );
  await until(() => pssOf(workload.pid) <= 65 * MIB, "the cap to be kept");
  await manager.systemctl("stop", "rcap.service");
  assertEquals(await manager.property("rcap.service", "Result"), "success");
  await assertIntact(workload);
});

/** Deno's arguments before those of rcap. */
function sourceArguments(): string {
  const { commandArgs } = commandLine([], { confined: false });
  return commandArgs.join(" ");
}

Deno.test("the unit contains the options given with --print-unit", async () => {
  const { code, stdout } = await rcap([
    "run",
    "--print-unit",
    "--config",
    "/etc/other.toml",
    "--state-dir",
    "/run/other",
    "--metrics",
    "7227",
    "--log-format",
    "json",
  ]);
  assertEquals(code, 0);
  assertMatch(
    stdout,
    /^ExecStart=\S+ run --config \/etc\/other\.toml --state-dir \/run\/other --metrics 127\.0\.0\.1:7227 --log-format json$/m,
  );
  assertMatch(stdout, /^RuntimeDirectory=rcap other$/m);
});
