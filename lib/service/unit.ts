/**
 * The systemd unit of the daemon: systemd.service(5), systemd.exec(5).
 *
 * The daemon needs to see every process, its memory and what the page tables say
 * of it, and to page out; it writes nothing but its state. Everything else that
 * systemd can take from a service is taken.
 *
 * @module
 */

import { EXIT_CODES, UsageError } from "../errors.ts";
import {
  escapeLine,
  hexDigits,
  lines,
  type Printable,
  replaceUnsafe,
} from "../report/escape.ts";
import type { Address } from "./metrics_server.ts";

/** How long the daemon may say nothing before it is taken for dead. */
const WATCHDOG = "30s";

/**
 * How many descriptors the daemon may have. It keeps some twenty, one more for each
 * of the few connections to its metrics, and opens files of processes one by one: far
 * fewer, so that a leak comes out before it is the machine's.
 */
const DESCRIPTORS = 1024;

/** Exit codes after which another try ends alike: wrong usage, missing privileges. */
const HOPELESS = [EXIT_CODES.usage.code, EXIT_CODES.incapable.code];

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
  /** All capabilities that it needs: capabilities(7). */
  capabilities: readonly string[];
  /** More memory than it ever takes, in bytes. */
  mostMemory: number;
  /** Where it serves metrics, if it does: without, it has no network at all. */
  metrics?: Address;
}

/**
 * The unit file.
 *
 * @throws UsageError when a path cannot stand in one.
 *
 * @example
 * ```ts
 * await print(systemdUnit({
 *   program: Deno.execPath(),
 *   args: ["run"],
 *   stateDirectory: "/run/rcap",
 *   capabilities: ["CAP_BPF"],
 *   mostMemory: 768 * 2 ** 20,
 * }));
 * ```
 */
export function systemdUnit(
  { program, args, stateDirectory, capabilities, mostMemory, metrics }:
    UnitOptions,
): Printable {
  requirePlain(program, "the program of the unit, ");
  if (/["'\\]/.test(program)) {
    throw new UsageError(
      `systemd starts no program whose path has quotation marks or backslashes, as ${program} has`,
      "move it elsewhere",
    );
  }
  requirePlain(stateDirectory, "--state-dir: ");
  const hasHome = [program, ...args].some((word) => HOMES.test(word));
  const text = `[Unit]
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
# Many times what it has open at once.
LimitNOFILE=${DESCRIPTORS}
# Far more than it takes: it limits what it keeps of other processes itself.
MemoryMax=${Math.ceil(mostMemory / MIB)}M

# Everyone may read the state, as rcap stat does.
${stateSettings(stateDirectory)}
UMask=0022

# What it needs to see and page out the memory of other processes; no more.
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
WantedBy=multi-user.target`;
  return lines(...text.split("\n"));
}

/**
 * Refuses what systemd takes for a path only as it is: it knows no escapes there.
 *
 * @throws UsageError when something in it cannot be shown as such.
 */
function requirePlain(path: string, what: string): void {
  if (escapeLine(path) === path) return;
  throw new UsageError(
    `${what}"${path}", has characters that a unit file cannot have in a path`,
    "choose a path of letters, digits and usual signs",
  );
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
  const text = replaceUnsafe(
    escaped.replaceAll(/["\\]/g, "\\$&"),
    escapedBytes,
  );
  return `"${text}"`;
}

/** A character as systemd.syntax(7) has it, byte by byte. */
function escapedBytes(codePoint: number): string {
  const bytes = new TextEncoder().encode(String.fromCodePoint(codePoint));
  return Array.from(bytes, (byte) => `\\x${hexDigits(byte, 2)}`).join("");
}

function escapedSpecifiers(text: string): string {
  return text.replaceAll("%", "%%");
}
