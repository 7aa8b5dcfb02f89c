/**
 * The systemd unit of the daemon: systemd.service(5), systemd.exec(5).
 *
 * The daemon needs to see every process, its memory and what the page tables say
 * of it, and to page out; it writes nothing but its state. Everything else that
 * systemd can take from a service is taken.
 *
 * @module
 */

import type { Address } from "./metrics_server.ts";

/** What the daemon can do that other programs cannot, and all that it can. */
export const CAPABILITIES = [
  // Loads the programs that read page tables.
  "CAP_BPF",
  // Lets those read kernel memory.
  "CAP_PERFMON",
  // Opens clear_refs and pagemap of the processes of every user.
  "CAP_DAC_OVERRIDE",
  // Reads maps and smaps of those, and may advise on their memory.
  "CAP_SYS_PTRACE",
  // Advises: process_madvise(2).
  "CAP_SYS_NICE",
] as const;

/** How long the daemon may say nothing before it is taken for dead. */
const WATCHDOG = "30s";

/** Exit codes after which another try ends alike: wrong usage, missing privileges. */
const HOPELESS = [2, 4];

/** A word with a path to a place that `ProtectHome=` hides. */
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
  /** More memory than it ever takes, in bytes. */
  mostMemory: number;
  /** Where it serves metrics, if it does: without, it has no network at all. */
  metrics?: Address;
}

/**
 * The unit file.
 *
 * @example
 * ```ts
 * print(systemdUnit({
 *   program: Deno.execPath(),
 *   args: ["run"],
 *   stateDirectory: "/run/rcap",
 *   mostMemory: 768 * 2 ** 20,
 * }));
 * ```
 */
export function systemdUnit(
  { program, args, stateDirectory, mostMemory, metrics }: UnitOptions,
): string {
  const hasHome = [program, ...args].some((word) => HOMES.test(word));
  return `[Unit]
Description=rcap, keeps the resident memory of groups of processes under a cap

[Service]
Type=notify
NotifyAccess=main
ExecStart=${commandLine(program, args)}
ExecReload=/bin/kill -HUP $MAINPID
WatchdogSec=${WATCHDOG}
Restart=on-failure
RestartPreventExitStatus=${HOPELESS.join(" ")}
# It relieves a machine that is short of memory, so it should be there then.
OOMScoreAdjust=-500
# Far more than it takes: it limits what it keeps of other processes itself.
MemoryMax=${Math.ceil(mostMemory / MIB)}M

# Everyone may read the state, as rcap stat does.
${stateSettings(stateDirectory)}
UMask=0022

# What it needs to see and page out the memory of other processes; no more.
CapabilityBoundingSet=${CAPABILITIES.join(" ")}
AmbientCapabilities=
NoNewPrivileges=yes

# Files: it writes its state, and in /proc the clear_refs of processes.
ProtectSystem=strict
ProtectHome=${hasHome ? "read-only" : "yes"}
PrivateTmp=yes
PrivateDevices=yes
PrivateIPC=yes
PrivateMounts=yes
ProtectControlGroups=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProtectHostname=yes
KeyringMode=private

# Network: the service manager, and the metrics where they are served.
${networkSettings(metrics)}

# The kernel. Not MemoryDenyWriteExecute=: it compiles its own code, and has the
# processor protect that where it can (@pkey).
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @aio @keyring @memlock
SystemCallFilter=@pkey bpf process_madvise pidfd_open pidfd_send_signal sched_setaffinity
SystemCallErrorNumber=EPERM
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes

[Install]
WantedBy=multi-user.target
`;
}

/** Where the state is, made anew by systemd where it can be. */
function stateSettings(directory: string): string {
  const [, name] = /^\/run\/([\w.%-]+)$/.exec(directory) ?? [];
  return name === undefined
    ? `ReadWritePaths=${quoted(directory)}`
    : `RuntimeDirectory=${escapedSpecifiers(name)}\nRuntimeDirectoryMode=0755`;
}

/** No more of the network than the metrics take. */
function networkSettings(metrics: Address | undefined): string {
  if (metrics === undefined) {
    return "PrivateNetwork=yes\nIPAddressDeny=any\nRestrictAddressFamilies=AF_UNIX";
  }
  const families = "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6";
  return isLoopback(metrics)
    ? `IPAddressDeny=any\nIPAddressAllow=localhost\n${families}`
    : families;
}

/** Whether only this machine can connect. */
function isLoopback({ hostname }: Address): boolean {
  return /^(localhost|127(\.\d+){3}|::1)$/.test(hostname);
}

/** A command line as a unit file has it: systemd.service(5), "Command lines". */
function commandLine(program: string, args: readonly string[]): string {
  // Variables are replaced in arguments only.
  const words = args.map((word) => quoted(word.replaceAll("$", "$$$$")));
  return [quoted(program), ...words].join(" ");
}

/** A word, or a path, as a unit file has it. */
function quoted(word: string): string {
  const escaped = escapedSpecifiers(word);
  if (/^[\w@%+=:,./$-]+$/.test(word)) return escaped;
  const text = escaped.replaceAll(/["\\]/g, "\\$&")
    .replaceAll("\n", "\\n").replaceAll("\t", "\\t");
  return `"${text}"`;
}

function escapedSpecifiers(text: string): string {
  return text.replaceAll("%", "%%");
}
