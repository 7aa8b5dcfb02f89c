/**
 * The systemd unit of the daemon: systemd.service(5), systemd.exec(5).
 *
 * The daemon has to read every process, its memory and its page tables, and to page
 * out; it writes nothing but its state. The unit denies it everything else that systemd
 * can deny a service.
 *
 * @module
 */

import type { Selector } from "../collection/selectors.ts";
import type { CapConfig } from "../config/config.ts";
import { EXIT_CODES, UsageError } from "../errors.ts";
import {
  escapeLine,
  hexDigits,
  lines,
  type Printable,
  replaceUnsafe,
} from "../report/escape.ts";
import { OBSERVERS } from "../platform/observers_directory.ts";
import type { Address } from "./metrics_server.ts";

/** How long the daemon may be silent before systemd restarts it. */
const WATCHDOG = "30s";

/**
 * How many descriptors the daemon may have. It keeps about twenty, and one for each of
 * the few connections to its metrics, and opens files of processes one by one. The limit
 * is far above that, but reveals a leak before the machine runs out.
 */
const DESCRIPTORS = 1024;

/** Exit codes after which a restart is pointless: wrong usage, missing privileges. */
const HOPELESS = [EXIT_CODES.usage.code, EXIT_CODES.incapable.code];

/** A word with a path that `ProtectHome=` hides. */
const HOMES = /(^|=)\/(home|root|run\/user)(\/|$)/;

const MIB = 2 ** 20;

/** What the unit starts. */
export interface UnitOptions {
  /** The program, as an absolute path. */
  program: string;
  /** Its arguments, as of `rcap run` with all its options. */
  args: readonly string[];
  /** Where the daemon keeps its state, as an absolute path. */
  stateDirectory: string;
  /** Where it keeps what it has learnt, as an absolute path. */
  learntDirectory: string;
  /** Whether the machine has the man pages, which systemd checks. */
  hasManPages?: boolean;
  /** All capabilities that it needs: capabilities(7). */
  capabilities: readonly string[];
  /** An upper bound of its memory, in bytes, or as a share of the machine's. */
  mostMemory: number | `${number}%`;
  /** Where it serves metrics; without them it has no network at all. */
  metrics?: Address;
  /** Its caps, if they are known: it may write to no cgroup unless one needs that. */
  caps?: readonly Pick<CapConfig, "select" | "reclaim">[];
  /** Where it keeps recordings; empty for nowhere. */
  record?: string;
}

/**
 * Returns the text of the unit file.
 *
 * @throws UsageError if a unit file cannot contain a path.
 *
 * @example
 * ```ts
 * await print(systemdUnit({
 *   program: Deno.execPath(),
 *   args: ["run"],
 *   stateDirectory: "/run/rcap",
 *   learntDirectory: "/var/lib/rcap",
 *   capabilities: ["CAP_BPF"],
 *   mostMemory: 768 * 2 ** 20,
 * }));
 * ```
 */
export function systemdUnit(
  {
    program,
    args,
    stateDirectory,
    learntDirectory,
    hasManPages = false,
    capabilities,
    mostMemory,
    metrics,
    caps = [],
    record = "",
  }: UnitOptions,
): Printable {
  requirePlain(program, "the program of the unit");
  if (/["'\\]/.test(program)) {
    throw new UsageError(
      `the path ${program} has quotation marks or backslashes, and systemd cannot start such a program`,
      "move it elsewhere",
    );
  }
  requirePlain(stateDirectory, "--state-dir");
  requirePlain(learntDirectory, "--learnt-dir");
  requirePlain(record, "record");
  const hasHome = [program, ...args].some((word) => HOMES.test(word));
  const text = `[Unit]
Description=rcap, keeps the resident memory of groups of processes under a cap
${
    hasManPages
      ? "Documentation=man:rcap(1) man:rcap-run(1) man:rcap.toml(5)\n"
      : ""
  }
[Service]
Type=notify
NotifyAccess=main
ExecStart=${commandLine(program, args)}
# kill(1) is not on every machine, but the shell has it.
ExecReload=/bin/sh -c "kill -HUP $MAINPID"
WatchdogSec=${WATCHDOG}
Restart=on-failure
RestartPreventExitStatus=${HOPELESS.join(" ")}
# It relieves a machine that is short of memory, so it should survive then.
OOMScoreAdjust=-500
# Many times as many as it has open at once.
LimitNOFILE=${DESCRIPTORS}
# Far more than it uses: it limits itself what it keeps of other processes.
MemoryMax=${
    typeof mostMemory === "number"
      ? `${Math.ceil(mostMemory / MIB)}M`
      : mostMemory
  }

# Everyone may read the state, as rcap stat does.
${stateSettings(stateDirectory)}
# What it learns and records is for root only.
${
    [
      learntSettings(learntDirectory),
      ...recordSettings(record, learntDirectory),
    ].join("\n")
  }
UMask=0022

# Only what it needs to read and page out the memory of other processes.
CapabilityBoundingSet=${capabilities.join(" ")}
AmbientCapabilities=
NoNewPrivileges=yes

# Files: it writes its state, and in /proc the clear_refs of processes.
ProtectSystem=strict
ProtectHome=${hasHome ? "read-only" : "yes"}
PrivateTmp=yes
PrivateDevices=yes
PrivateIPC=yes
PrivateMounts=yes
${cgroupSettings(caps)}
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProtectHostname=yes
KeyringMode=private

# Network: the service manager, and the metrics if they are served.
${networkSettings(metrics)}

# The kernel. Not MemoryDenyWriteExecute=: it compiles its own code, which the
# processor protects if it can (@pkey).
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @aio @keyring @memlock
SystemCallFilter=@pkey bpf process_madvise mincore pidfd_open pidfd_send_signal sched_setaffinity
SystemCallErrorNumber=EPERM
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes

[Install]
WantedBy=multi-user.target`;
  return lines(...text.split("\n"));
}

/**
 * Asserts that a path needs no escapes, which systemd does not know in paths.
 *
 * @throws UsageError if the path has characters that need an escape.
 */
function requirePlain(path: string, what: string): void {
  if (escapeLine(path) === path) return;
  throw new UsageError(
    `${what}: "${path}" has characters that a path in a unit file cannot have`,
    "choose a path of letters, digits and common punctuation",
  );
}

/**
 * The settings of the state directory, and of the directory in which the rcaps of the
 * machine agree who observes a process. systemd creates what is below /run, and must not
 * remove it while other rcaps have locks there.
 */
function stateSettings(directory: string): string {
  const [, shared] = /^\/run\/([^/]+)\//.exec(OBSERVERS) ?? [];
  const [, name] = /^\/run\/([\w.%-]+)$/.exec(directory) ?? [];
  const names = new Set([shared, ...name === undefined ? [] : [name]]);
  return [
    `RuntimeDirectory=${Array.from(names, escapedSpecifiers).join(" ")}`,
    "RuntimeDirectoryMode=0755",
    "RuntimeDirectoryPreserve=yes",
    ...name === undefined ? [`ReadWritePaths=${quoted(directory)}`] : [],
  ].join("\n");
}

/** The settings of the directory for what is learnt. systemd creates what is below /var/lib. */
function learntSettings(directory: string): string {
  const [, name] = /^\/var\/lib\/([\w.%-]+)$/.exec(directory) ?? [];
  return name === undefined
    ? `ReadWritePaths=-${quoted(directory)}`
    : `StateDirectory=${escapedSpecifiers(name)}\nStateDirectoryMode=0700`;
}

/**
 * The settings of the directory of recordings. rcap makes one that is in the directory
 * for what is learnt, systemd what is below /var/lib; any other must exist.
 */
function recordSettings(record: string, learntDirectory: string): string[] {
  const parent = record.slice(0, record.lastIndexOf("/"));
  if (record === "" || parent === learntDirectory) return [];
  const [, name] = /^\/var\/lib\/([\w.%/-]+)$/.exec(record) ?? [];
  return name === undefined ? [`ReadWritePaths=${quoted(record)}`] : [
    `StateDirectory=${escapedSpecifiers(name)}`,
    "StateDirectoryMode=0700",
  ];
}

/** Where systemd mounts cgroups. */
const CGROUPS = "/sys/fs/cgroup";

/**
 * The settings of the cgroups, which are read-only except where a cap has its cgroup
 * reclaimed: `memory.reclaim`. The directory above that cgroup is writable, because a
 * cgroup is removed and made anew with its unit. systemd may place a unit anywhere.
 */
function cgroupSettings(
  caps: readonly Pick<CapConfig, "select" | "reclaim">[],
): string {
  const places = caps.filter(({ reclaim }) => reclaim === "auto")
    .flatMap(({ select: [selector, ...others] }) =>
      others.length > 0 ? [] : placeOf(selector) ?? []
    );
  if (places.includes("")) {
    return "# It has the kernel reclaim cgroups, wherever they are.\nProtectControlGroups=no";
  }
  const paths = Array.from(
    new Set(places),
    (place) => `ReadWritePaths=-${quoted(CGROUPS + place)}`,
  );
  return ["ProtectControlGroups=yes", ...paths].join("\n");
}

/**
 * The directory above the cgroup that a selector names, below the mount point; empty if
 * it can be anywhere, `undefined` if it selects no cgroup.
 */
function placeOf(selector: Selector): string | undefined {
  if (selector.kind === "unit") return "";
  if (selector.kind !== "cgroup") return undefined;
  const [, place = ""] =
    /^cgroup:((?:\/[^*?[\\/]+)*)\/[^*?[\\/]+$/.exec(selector.text) ?? [];
  return escapeLine(place) === place ? place : "";
}

/** The settings of the network: only what the metrics need. */
function networkSettings(metrics: Address | undefined): string {
  if (metrics === undefined) {
    return "PrivateNetwork=yes\nIPAddressDeny=any\nRestrictAddressFamilies=AF_UNIX";
  }
  const families = "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6";
  return isLoopback(metrics)
    ? `IPAddressDeny=any\nIPAddressAllow=localhost\n${families}`
    : families;
}

/** Whether an address accepts connections from this machine only. */
function isLoopback({ hostname }: Address): boolean {
  return /^(localhost|127(\.\d+){3}|::1)$/.test(hostname);
}

/** Quotes a command line for a unit file: systemd.service(5), "Command lines". */
function commandLine(program: string, args: readonly string[]): string {
  // systemd substitutes variables only in arguments.
  const words = args.map((word) => quoted(word.replaceAll("$", "$$$$")));
  return [quoted(program), ...words].join(" ");
}

/** Quotes a word, or a path, for a unit file. */
function quoted(word: string): string {
  const escaped = escapedSpecifiers(word);
  if (/^[\w@%+=:,./$-]+$/.test(word)) return escaped;
  const text = replaceUnsafe(
    escaped.replaceAll(/["\\]/g, "\\$&"),
    escapedBytes,
  );
  return `"${text}"`;
}

/** Escapes a character byte by byte: systemd.syntax(7). */
function escapedBytes(codePoint: number): string {
  const bytes = new TextEncoder().encode(String.fromCodePoint(codePoint));
  return Array.from(bytes, (byte) => `\\x${hexDigits(byte, 2)}`).join("");
}

function escapedSpecifiers(text: string): string {
  return text.replaceAll("%", "%%");
}
