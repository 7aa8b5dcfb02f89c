/**
 * Selectors: the words by which a user says which processes are meant.
 *
 * @module
 */

import { UsageError } from "../errors.ts";
import { operatingSystem } from "../platform/open.ts";
import { type Glob, MalformedGlob, parseGlob } from "./glob.ts";

/** A selector, parsed. */
export type Selector =
  | {
    readonly kind: "pid" | "tree";
    readonly pid: number;
    readonly text: string;
  }
  | { readonly kind: "user"; readonly uid: number; readonly text: string }
  | {
    readonly kind: "project" | "zone";
    readonly id: number;
    readonly text: string;
  }
  | {
    readonly kind: "comm" | "exe" | "cgroup" | "unit";
    readonly matches: Glob;
    readonly text: string;
  };

/** What the selectors look like on every system. */
const COMMON_HELP = [
  ["pid:N or N", "the process with this pid"],
  ["tree:N", "a process and its descendants"],
  ["user:NAME", "all processes of a user, by name or uid"],
  ["comm:GLOB", "by command name, as ps -o comm shows it"],
  ["exe:GLOB", "by the path of the program"],
] as const;

/** What they look like where there are cgroups. */
const CGROUP_HELP = [
  ["cgroup:GLOB", "by cgroup path, either version"],
  ["unit:NAME", "all processes of a systemd unit"],
] as const;

/** What they look like where there are projects and zones. */
const PROJECT_HELP = [
  ["project:NAME", "all processes of a project, by name or id"],
  ["zone:NAME", "all processes of a zone, by name or id"],
] as const;

/** What the selectors look like on this system, for help and messages. */
export function selectorHelp(): (readonly [form: string, what: string])[] {
  return [...COMMON_HELP, ...hasProjects() ? PROJECT_HELP : CGROUP_HELP];
}

/** Whether this system has projects and zones. Others have cgroups. */
function hasProjects(): boolean {
  return operatingSystem().projectIdOf !== undefined;
}

/** Ends the name of every unit that has processes: systemd.unit(5). */
const UNIT_SUFFIX = /\.(service|scope|slice|socket|mount|swap)$/;

/** The largest pid Linux hands out: `PID_MAX_LIMIT` of include/linux/threads.h. */
const LARGEST_PID = 2 ** 22;

/**
 * Parses a selector.
 *
 * @throws UsageError when it is none; the message says what would be one.
 */
export function parseSelector(text: string): Selector {
  if (/^\d+$/.test(text)) {
    return { kind: "pid", pid: parsePid(text, `selector "${text}"`), text };
  }
  const [, kind, value] = /^([a-z]+):(.*)$/s.exec(text) ?? [];
  if (value === "") {
    throw new UsageError(`selector "${text}" has no value after the colon`);
  }
  switch (kind) {
    case "pid":
    case "tree":
      return { kind, pid: parsePid(value, `selector "${text}"`), text };
    case "user":
      return { kind, uid: parseUser(value, text), text };
    case "comm":
    case "exe":
      return { kind, matches: globOf(value, text), text };
    case "cgroup":
      refuseCgroups(text);
      return { kind, matches: globOf(value, text), text };
    case "unit": {
      refuseCgroups(text);
      const unit = UNIT_SUFFIX.test(value) ? value : `${value}.service`;
      return { kind, matches: (name) => name === unit, text };
    }
    case "project":
    case "zone":
      return { kind, id: parseId(kind, value, text), text };
  }
  throw new UsageError(
    `"${text}" is not a selector`,
    `use ${selectorHelp().map(([form]) => form).join(", ")}`,
  );
}

/**
 * Parses a process id.
 *
 * @param what where it stands, for the message.
 * @throws UsageError when it is none.
 */
export function parsePid(value: string, what: string): number {
  const pid = /^\d+$/.test(value) ? Number(value) : 0;
  if (pid < 1 || pid > LARGEST_PID) {
    throw new UsageError(
      `${what}: "${value}" is not a process id`,
      `those are whole numbers from 1 to ${LARGEST_PID}`,
    );
  }
  return pid;
}

function parseUser(value: string, selector: string): number {
  const uid = /^\d+$/.test(value)
    ? Number(value)
    : operatingSystem().uidOfUser(value);
  if (uid === undefined) {
    throw new UsageError(
      `selector "${selector}": there is no user "${value}"`,
      "getent passwd lists those there are",
    );
  }
  return uid;
}

/** The id of a project or a zone. */
function parseId(
  kind: "project" | "zone",
  value: string,
  selector: string,
): number {
  if (!hasProjects()) {
    throw new UsageError(
      `selector "${selector}": ${kind}s are an illumos feature`,
    );
  }
  if (/^\d+$/.test(value)) return Number(value);
  const system = operatingSystem();
  const id = kind === "project"
    ? system.projectIdOf?.(value)
    : system.zoneIdOf?.(value);
  if (id === undefined) {
    throw new UsageError(
      `selector "${selector}": there is no ${kind} "${value}"`,
      kind === "project"
        ? "projects -l lists those there are"
        : "zoneadm list lists those that are up",
    );
  }
  return id;
}

/** @throws UsageError where there are no cgroups. */
function refuseCgroups(selector: string): void {
  if (hasProjects()) {
    throw new UsageError(`selector "${selector}": cgroups are a Linux feature`);
  }
}

function globOf(value: string, selector: string): Glob {
  try {
    return parseGlob(value);
  } catch (error) {
    if (!(error instanceof MalformedGlob)) throw error;
    throw new UsageError(
      `selector "${selector}": malformed glob "${value}" (${error.message})`,
      "quote a bracket or backslash that is meant as such with a backslash",
    );
  }
}
