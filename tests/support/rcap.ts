/**
 * Runs rcap as a user does: from source, or the binary that `RCAP_BIN` names; with
 * all privileges, or where `RCAP_CONFINED` is set with those of the systemd unit.
 *
 * @module
 */

import { assert } from "@std/assert";
import { DAEMON_CAPABILITIES } from "../../lib/platform/linux/privileges.ts";
import { PERMISSIONS } from "../../scripts/permissions.ts";
import { waitingFor } from "./deadline.ts";

const SOURCE = new URL("../../main.ts", import.meta.url).pathname;
const AS_USER = new URL("as_user.ts", import.meta.url).pathname;

/** How one run of rcap ended. */
export interface Run {
  code: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  /** The user to run as; the caller must be root. */
  uid?: number;
  env?: Record<string, string>;
  /** A program that runs it, with arguments, for example unshare. */
  prefix?: string[];
  /** The limit of its descriptors; it inherits only the standard streams. */
  descriptors?: number;
  /** Whether to run with the privileges of the systemd unit only, as `RCAP_CONFINED` says by default. */
  confined?: boolean;
}

/** A running rcap. */
export interface Running {
  readonly child: Deno.ChildProcess;
  /** Waits for its end. */
  end(): Promise<Run>;
}

/** Runs rcap until it ends. */
export async function rcap(args: string[], options?: RunOptions): Promise<Run> {
  return await startRcap(args, options).end();
}

/** Runs rcap with `--json` and parses its output. */
export async function rcapJson<T>(
  args: string[],
  options?: RunOptions,
): Promise<{ code: number; json: T; stderr: string }> {
  const { code, stdout, stderr } = await rcap([...args, "--json"], options);
  assert(stdout !== "", `rcap ${args.join(" ")} printed nothing: ${stderr}`);
  return { code, json: JSON.parse(stdout), stderr };
}

/** Starts rcap. */
export function startRcap(args: string[], options: RunOptions = {}): Running {
  const { command, commandArgs } = commandLine(args, options);
  const [program, ...rest] = [
    ...withDescriptors(options.descriptors),
    ...options.prefix ?? [],
    command,
    ...commandArgs,
  ];
  const child = new Deno.Command(program, {
    args: rest,
    env: options.env,
    uid: Deno.env.has("RCAP_BIN") ? options.uid : undefined,
    gid: Deno.env.has("RCAP_BIN") ? options.uid : undefined,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  return {
    child,
    async end() {
      const [stdout, stderr, { code }] = await waitingFor(
        `rcap ${args.join(" ")} (process ${child.pid}) to end`,
        Promise.all([
          new Response(child.stdout).text(),
          new Response(child.stderr).text(),
          child.status,
        ]),
      );
      // A stack trace must never reach a user.
      assert(!/^\s+at .*:\d+:\d+/m.test(stderr), `a stack trace:\n${stderr}`);
      assert(!stderr.includes("internal error"), stderr);
      return { code, stdout, stderr };
    },
  };
}

/** The program to run and its arguments. */
export function commandLine(args: string[], options: RunOptions = {}) {
  const { command, commandArgs } = plainCommandLine(args, options);
  const { confined = Deno.env.has("RCAP_CONFINED") } = options;
  // Another user has no privileges at all.
  return confined && options.uid === undefined
    ? withCapabilities(DAEMON_CAPABILITIES, [command, ...commandArgs])
    : { command, commandArgs };
}

/**
 * The command line with which root runs another with only some capabilities,
 * irrevocably: setpriv(1).
 */
export function withCapabilities(
  capabilities: readonly string[],
  [command, ...args]: string[],
) {
  const names = capabilities.map((name) => name.toLowerCase().slice(4));
  const words = ["-all", ...names.map((name) => `+${name}`)];
  return {
    command: "setpriv",
    commandArgs: [
      `--bounding-set=${words.join(",")}`,
      "--inh-caps=-all",
      "--no-new-privs",
      "--",
      command,
      ...args,
    ],
  };
}

function plainCommandLine(args: string[], { uid }: RunOptions) {
  const binary = Deno.env.get("RCAP_BIN");
  if (binary) {
    const command = uid === undefined ? binary : copyForEveryone(binary);
    return { command, commandArgs: args };
  }
  const script = uid === undefined ? [SOURCE] : [AS_USER, String(uid)];
  return {
    command: Deno.execPath(),
    commandArgs: ["run", ...PERMISSIONS, ...script, ...args],
  };
}

/**
 * The beginning of a command line that limits the descriptors of the rest:
 * prlimit(1). It closes inherited descriptors, which would count: Deno's test
 * runner has two more for every module that it has run.
 */
function withDescriptors(limit: number | undefined): string[] {
  if (limit === undefined) return [];
  const script = "for link in /proc/self/fd/*; do fd=${link##*/}; " +
    '[ "$fd" -le 2 ] || eval "exec $fd>&-"; done; exec "$@"';
  return [
    "bash",
    "-c",
    script,
    "bash",
    "prlimit",
    `--nofile=${limit}:${limit}`,
  ];
}

let copy: string | undefined;

/**
 * A copy of the binary that every user can run, because a checkout may be
 * accessible only to its owner.
 */
function copyForEveryone(binary: string): string {
  if (copy !== undefined) return copy;
  const folder = Deno.makeTempDirSync({ prefix: "rcap-" });
  addEventListener("unload", () => {
    Deno.removeSync(folder, { recursive: true });
  });
  Deno.chmodSync(folder, 0o755);
  copy = `${folder}/rcap`;
  Deno.copyFileSync(binary, copy);
  Deno.chmodSync(copy, 0o755);
  return copy;
}
