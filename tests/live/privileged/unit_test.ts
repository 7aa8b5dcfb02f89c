/**
 * Tests of the systemd unit: systemd's rating, the sandbox, and rcap in it.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { memoryInfo } from "../../../ffi/system.ts";
import type { ScanReport } from "../../../lib/oneshot/scan_once.ts";
import { mostMemory } from "../../../lib/platform/memory_limits.ts";
import { parseAddress } from "../../../lib/service/metrics_server.ts";
import { DAEMON_CAPABILITIES } from "../../../lib/platform/linux/privileges.ts";
import { parseSelector } from "../../../lib/collection/selectors.ts";
import { systemdUnit, type UnitOptions } from "../../../lib/service/unit.ts";
import {
  assertIntact,
  assertScanReport,
  diskFile,
  MIB,
  requireRoot,
} from "../../support/live.ts";
import { commandLine } from "../../support/rcap.ts";
import {
  requireSystemd,
  run,
  ServiceManager,
} from "../../support/service_manager.ts";
import { pssOf, until, Workload } from "../../support/workload.ts";
import { say } from "../../support/say.ts";

requireRoot();

// Called before the first test, which would otherwise appear to leak the C library.
const MOST_MEMORY = mostMemory(memoryInfo().totalMemory);

/** A user that need not exist. */
const SOMEONE = 54_351;

/** The highest exposure that systemd may report, in tenths: 10.0 is the worst. */
const MOST_EXPOSURE = 25;

/**
 * A forbidden call kills the binary, so that no dependence goes unnoticed. From
 * source, Deno itself tries calls that it does not need.
 */
const STRICT = Deno.env.has("RCAP_BIN") ? "SystemCallErrorNumber=kill" : "";

/** A unit that starts another program in rcap's place, and its drop-in. */
function unitFor(
  [program, ...args]: string[],
  metrics?: string,
  caps?: UnitOptions["caps"],
): string {
  return systemdUnit({
    caps,
    program,
    args,
    stateDirectory: "/run/rcap",
    learntDirectory: "/var/lib/rcap",
    capabilities: DAEMON_CAPABILITIES,
    mostMemory: MOST_MEMORY,
    metrics: metrics === undefined ? undefined : parseAddress(metrics),
  });
}

/** Runs a command to its end in the unit's sandbox. */
async function runConfined(
  manager: ServiceManager,
  command: string[],
  caps?: UnitOptions["caps"],
): Promise<{ code: number; stdout: string; stderr: string }> {
  const [out, err] = [`${manager.folder}/out`, `${manager.folder}/err`];
  for (const path of [out, err]) Deno.writeTextFileSync(path, "");
  await manager.install(
    "rcap.service",
    unitFor(command, undefined, caps),
    `[Service]
Type=oneshot
Restart=no
WatchdogSec=0
${STRICT}
StandardOutput=truncate:${out}
StandardError=truncate:${err}
`,
  );
  await manager.systemctl("start", "rcap.service");
  const code = await manager.property("rcap.service", "ExecMainStatus");
  return {
    code: Number(code),
    stdout: Deno.readTextFileSync(out),
    stderr: Deno.readTextFileSync(err),
  };
}

/** The unit as a file. */
function unitFile(text: string): Disposable & { readonly path: string } {
  const folder = Deno.makeTempDirSync();
  const path = `${folder}/rcap.service`;
  Deno.writeTextFileSync(path, text);
  return {
    path,
    [Symbol.dispose]: () => Deno.removeSync(folder, { recursive: true }),
  };
}

Deno.test("systemd finds nothing wrong with the unit, and little exposed", async () => {
  await requireSystemd();
  for (const metrics of [undefined, "7227", "0.0.0.0:7227"]) {
    using file = unitFile(unitFor(["/bin/true", "run", "--a b%$"], metrics));
    const verified = await run(["systemd-analyze", "verify", file.path]);
    // This machine's systemd reports settings that it does not know yet.
    assertEquals(verified, { code: 0, stdout: "", stderr: "" });
    if (metrics === "0.0.0.0:7227") continue;
    const { code, stdout } = await run([
      "systemd-analyze",
      "security",
      "--offline=true",
      `--threshold=${MOST_EXPOSURE}`,
      file.path,
    ]);
    assertEquals(code, 0, stdout);
    say(stdout.split("\n").at(-1));
  }
});

// What a confined process finds, one line each.
const PROBE = `
grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status
for path in / /etc /usr /var /var/lib /home /root /boot /sys /proc/sys/vm; do
  touch "$path/rcap-probe" 2>/dev/null && echo "writable: $path"
done
for path in /home /root; do ls -A "$path" 2>/dev/null | sed "s|^|seen in $path: |"; done
ls -A /tmp /var/tmp | grep -v '^/\\|^$' | sed 's/^/seen in tmp: /'
ls /dev | grep -E '^(sd|vd|nvme|mem|kmsg|zram)' | sed 's/^/device: /'
ls /sys/class/net /proc/self/net/dev >/dev/null; grep -c : /proc/self/net/dev | sed 's/^/interfaces: /'
unshare --user true 2>/dev/null && echo "new namespaces"
chown 1 /run/rcap 2>/dev/null && echo "chown"
mkdir /run/rcap/probe && echo "state: writable"
stat --format='state: %a' /run/rcap
cut -d' ' -f1 /proc/self/oom_score_adj | sed 's/^/oom: /'
cat /proc/1/comm | sed 's/^/sees the machine: /' >/dev/null && echo "other processes: seen"
`;

Deno.test("the unit's sandbox is in effect, with exactly its capabilities", async () => {
  await using manager = await ServiceManager.start();
  const { code, stdout, stderr } = await runConfined(manager, [
    "/bin/sh",
    "-c",
    PROBE,
  ]);
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
  // If root itself may not set the score, systemd leaves it unchanged.
  const oom = hasCapability(CAP_SYS_RESOURCE) ? -500 : ownOomScore();
  const held = DAEMON_CAPABILITIES.reduce(
    (bits, name) => bits | BITS[name],
    0n,
  );
  const set = held.toString(16).padStart(16, "0");
  assertEquals(stdout.replaceAll("\t", " ").trim().split("\n"), [
    `CapInh: 0000000000000000`,
    `CapPrm: ${set}`,
    `CapEff: ${set}`,
    `CapBnd: ${set}`,
    `CapAmb: 0000000000000000`,
    `NoNewPrivs: 1`,
    `Seccomp: 2`,
    `interfaces: 1`,
    `state: writable`,
    `state: 755`,
    `oom: ${oom}`,
    `other processes: seen`,
  ]);
});

// A cgroup that is made after the sandbox, as that of a service that starts again is.
const CGROUP_PROBE = `
cd /sys/fs/cgroup || exit
for path in rcap-probe/made rcap-other; do
  mkdir "$path" 2>/dev/null && rmdir "$path" && echo "$path"
done
true
`;

Deno.test("in the unit's sandbox, only cgroups that a cap has reclaimed are writable", async () => {
  await using manager = await ServiceManager.start();
  const capOf = (selector: string) => ({
    select: [parseSelector(selector)],
    reclaim: "auto" as const,
  });
  // It is there before the sandbox is set up, as slices are.
  const parent = "/sys/fs/cgroup/rcap-probe";
  await manager.install(
    "parent.service",
    `[Service]\nType=oneshot\nExecStart=/bin/mkdir ${parent}\n`,
  );
  await manager.systemctl("start", "parent.service");
  for (
    const [caps, writable] of [
      [[], []],
      [[capOf("cgroup:/rcap-probe/made")], ["rcap-probe/made"]],
      [[capOf("unit:made")], ["rcap-probe/made", "rcap-other"]],
    ] as const
  ) {
    const { code, stdout, stderr } = await runConfined(
      manager,
      ["/bin/sh", "-c", CGROUP_PROBE],
      caps,
    );
    assertEquals({ code, stderr }, { code: 0, stderr: "" });
    assertEquals(stdout.trim().split("\n").filter(Boolean), [...writable]);
  }
});

Deno.test("systemd passes on the unit's arguments, whatever characters they contain", async () => {
  await using manager = await ServiceManager.start();
  const words = [
    "a b",
    "$HOME",
    "${HOME}",
    "%n %%",
    "it's",
    'say "so"',
    "back\\slash \\n",
    "tab\tline\nend",
    "\n[Service]\nExecStartPre=/bin/false\n",
    "\x01\x1b]0;title\x07\x7f\x9b31m",
    "\u202egpj\u2028\ufeff\u{e0001}\ue000\uffff\u{10ffff}",
    ";",
    "größe",
    "-x",
    "#",
  ];
  const { stdout } = await runConfined(manager, [
    "/usr/bin/printf",
    "%s\\0",
    ...words,
  ]);
  assertEquals(stdout.split("\0").slice(0, -1), words);
});

const CAP_SYS_RESOURCE = 1n << 24n;

/** Whether this process has a capability, by its bit. */
function hasCapability(bit: bigint): boolean {
  const status = Deno.readTextFileSync("/proc/self/status");
  const [, held] = /^CapEff:\s*([0-9a-f]+)$/m.exec(status) ?? [];
  return (BigInt(`0x${held}`) & bit) !== 0n;
}

function ownOomScore(): number {
  return Number(Deno.readTextFileSync("/proc/self/oom_score_adj"));
}

/** Bits of capabilities: include/uapi/linux/capability.h. */
const BITS: Readonly<Record<typeof DAEMON_CAPABILITIES[number], bigint>> = {
  CAP_DAC_OVERRIDE: 1n << 1n,
  CAP_SYS_PTRACE: 1n << 19n,
  CAP_SYS_NICE: 1n << 23n,
  CAP_PERFMON: 1n << 38n,
  CAP_BPF: 1n << 39n,
};

for (const uid of [undefined, SOMEONE]) {
  const whose = uid === undefined ? "root's" : "another user's";
  for (const source of ["pte", "smaps"]) {
    Deno.test(`in the unit's sandbox, rcap scans ${whose} process, by ${source}`, async () => {
      await using manager = await ServiceManager.start();
      using file = await diskFile(32 * MIB);
      if (uid !== undefined) {
        Deno.chmodSync(file.path.replace(/\/[^/]*$/, ""), 0o755);
      }
      await using workload = await Workload.start({ uid });
      await workload.file("cold", { path: file.path });
      const args = ["scan", `pid:${workload.pid}`, "--cap", "24M", "--json"];
      const { command, commandArgs } = commandLine(
        [...args, "--observe", "2s", "--pagedata", source],
        { confined: false },
      );
      const scan = await runConfined(manager, [command, ...commandArgs]);
      assertEquals({ code: scan.code, stderr: scan.stderr }, {
        code: 0,
        stderr: "",
      });
      const report: ScanReport = JSON.parse(scan.stdout);
      assertScanReport(report);
      assertEquals(report.pagedata, source);
      assert(report.capMet);
      assert(pssOf(workload.pid) <= 25 * MIB);
      await assertIntact(workload);
    });
  }
}

Deno.test("in the unit's sandbox, threads may choose their processor", async () => {
  await using manager = await ServiceManager.start();
  const { code, stderr } = await runConfined(manager, [
    "/usr/bin/taskset",
    "--cpu-list",
    "0",
    "/bin/true",
  ]);
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
});

Deno.test("in the unit's sandbox, doctor finds nothing missing", async () => {
  await using manager = await ServiceManager.start();
  const { command, commandArgs } = commandLine(["doctor", "--json"], {
    confined: false,
  });
  const { stdout } = await runConfined(manager, [command, ...commandArgs]);
  const { capabilities }: {
    capabilities: { name: string; status: string; detail: string }[];
  } = JSON.parse(stdout);
  // Swap and DAMON depend on the machine, and the cgroup namespace on the service manager,
  // which is in one.
  const others = [
    "swap",
    "swap at boot",
    "zram",
    "pagemap",
    "other observers",
    "cgroups",
  ];
  const bad = capabilities.filter(({ name, status, detail }) =>
    status !== "ok" && !others.includes(name) &&
    detail !== "not the machine's own: cgroup"
  );
  assertEquals(bad, []);
});

Deno.test("in the unit's sandbox, metrics are served", async () => {
  await using manager = await ServiceManager.start();
  const script = new URL(
    "../../support/metrics_child.ts",
    import.meta.url,
  );
  const args = [
    "run",
    "--quiet",
    "--no-prompt",
    "--allow-net",
    "--allow-ffi",
  ];
  const out = `${manager.folder}/out`;
  await manager.install(
    "rcap.service",
    unitFor([Deno.execPath(), ...args, script.pathname], "127.0.0.1:7227"),
    `[Service]
Type=exec
WatchdogSec=0
StandardOutput=truncate:${out}
`,
  );
  const { code } = await manager.systemctl("start", "rcap.service");
  assertEquals(code, 0);
  await until(() => Deno.readTextFileSync(out) !== "", "a port");
  const port = Number(Deno.readTextFileSync(out));
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  assertMatch(await response.text(), /^rcap_build_info\{/m);
});

/** The service of notifying.ts, in the unit's sandbox. */
function notifying(): string {
  const script =
    new URL("../../support/notifying.ts", import.meta.url).pathname;
  const args = ["run", "--quiet", "--no-prompt", "--allow-ffi", "--allow-env"];
  return unitFor([Deno.execPath(), ...args, script]);
}

Deno.test("systemd is notified that the daemon is ready, reloads and stops", async () => {
  await using manager = await ServiceManager.start();
  await manager.install("rcap.service", notifying());
  const started = await manager.systemctl("start", "rcap.service");
  assertEquals(started, { code: 0, stdout: "", stderr: "" });
  const property = (name: string) => manager.property("rcap.service", name);
  assertEquals(await property("ActiveState"), "active");
  assertEquals(await property("StatusText"), "started");

  await manager.systemctl("reload", "rcap.service");
  await manager.untilProperty("rcap.service", "StatusText", "reloaded 1");
  await manager.untilProperty("rcap.service", "ActiveState", "active");

  await manager.systemctl("stop", "rcap.service");
  assertEquals(await property("Result"), "success");
  assertEquals(await property("ActiveState"), "inactive");
});

Deno.test("systemd restarts a daemon that stops sending watchdog notifications", async () => {
  await using manager = await ServiceManager.start();
  await manager.install(
    "rcap.service",
    notifying(),
    "[Service]\nWatchdogSec=3s\nLimitCORE=0\n",
  );
  await manager.systemctl("start", "rcap.service");
  const pid = await manager.property("rcap.service", "MainPID");
  // While it is pinged, for several times the timeout.
  await new Promise((resolve) => setTimeout(resolve, 7000));
  assertEquals(await manager.property("rcap.service", "MainPID"), pid);
  assertEquals(await manager.property("rcap.service", "NRestarts"), "0");
  await manager.systemctl("kill", "--signal=USR1", "rcap.service");
  await manager.untilProperty("rcap.service", "NRestarts", "1");
  await manager.untilProperty("rcap.service", "ActiveState", "active");
  const again = await manager.property("rcap.service", "MainPID");
  assertMatch(again, /^[1-9]\d*$/);
  assert(again !== pid);
});
