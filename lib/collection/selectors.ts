/**
 * Selectors: the words with which a user selects processes.
 *
 * Several selectors form a union. Selectors that must all match are joined: on the
 * command line by a separate argument, `+`, and in a configuration by a nested
 * list. Position alone distinguishes a joint from a selector, so no name can be
 * taken for a joint, and none needs quoting.
 *
 * @module
 */

import { UsageError } from "../errors.ts";
import { type ContainerTest, parseContainer, parsePod } from "./containers.ts";
import { type Glob, MalformedGlob, parseGlob } from "./glob.ts";
import { type GlobKind, requirePossible } from "./possible_globs.ts";
import { parseUnit, type UnitTest } from "./systemd_unit.ts";
import { type NameLookup, UserNotKnown, Users } from "./users.ts";

/** A parsed selector. */
export type Selector = PlainSelector | JoinedSelector;

/** A selector of one word. */
export type PlainSelector =
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
    readonly kind: "comm" | "exe" | "cgroup";
    readonly matches: Glob;
    readonly text: string;
  }
  | {
    readonly kind: "unit";
    /** Takes the path of the cgroup into which systemd has put a process. */
    readonly matches: UnitTest;
    readonly text: string;
  }
  | {
    readonly kind: "container" | "pod";
    readonly selects: ContainerTest;
    readonly text: string;
  };

/** Selects the processes that all of its parts select. */
export interface JoinedSelector {
  readonly kind: "joined";
  /** At least two. */
  readonly parts: readonly PlainSelector[];
}

/** Joins selectors on the command line as a separate argument. */
const JOINT = "+";

/** A selector as written in a configuration. */
export type WrittenSelector = string | readonly string[];

/** Returns what was written for a selector: one text, or the texts of its parts. */
export function writtenAs(selector: Selector): WrittenSelector {
  return selector.kind === "joined"
    ? selector.parts.map(({ text }) => text)
    : selector.text;
}

/** Formats a selector for messages: its words in quotation marks. */
export function quoteSelector(selector: Selector): string {
  return partsOf(selector).map(({ text }) => `"${text}"`).join(` ${JOINT} `);
}

/** The words of a selector. */
export function partsOf(selector: Selector): readonly PlainSelector[] {
  return selector.kind === "joined" ? selector.parts : [selector];
}

/** The forms of selectors on every system. */
const COMMON_HELP = [
  ["pid:N or N", "the process with this pid"],
  ["tree:N", "a process and its descendants"],
  [
    "user:NAME",
    "all processes of a user, by name or uid; user:+UID by uid only",
  ],
  ["comm:GLOB", "by command name, as ps -o comm shows it"],
  ["exe:GLOB", "by the path of the program"],
] as const;

/** The forms on systems with cgroups. */
const CGROUP_HELP = [
  ["cgroup:GLOB", "by cgroup path, either version"],
  ["unit:NAME", "all processes of a systemd unit, or below a slice, or a glob"],
  ["container:NAME", "all processes of a container, by name, glob or id"],
  ["pod:NS/NAME", "all processes of a pod, or with /CONTAINER of a container"],
] as const;

/** The forms on systems with projects and zones. */
const PROJECT_HELP = [
  ["project:NAME", "all processes of a project, by name or id"],
  ["zone:NAME", "all processes of a zone, by name or id"],
] as const;

/** Returns the forms of selectors on a system, for help and messages. */
export function selectorHelp(
  names: NameLookup,
): (readonly [form: string, what: string])[] {
  return [...COMMON_HELP, ...hasProjects(names) ? PROJECT_HELP : CGROUP_HELP];
}

/** Whether a system has projects and zones. Others have cgroups. */
function hasProjects({ projectIdOf }: NameLookup): boolean {
  return projectIdOf !== undefined;
}

/** The largest pid that Linux assigns: `PID_MAX_LIMIT` of include/linux/threads.h. */
const LARGEST_PID = 2 ** 22;

/**
 * Parses the selectors of a command line.
 *
 * @param signal ends the lookup of users early.
 * @param warn called with messages about users who could not be looked up.
 * @throws UsageError if a text is not a valid selector, or a joint is not between two.
 * @throws UserNotKnown if the name service did not resolve a user.
 */
export async function parseArguments(
  texts: readonly string[],
  names: NameLookup,
  { signal, warn = () => {} }: {
    signal?: AbortSignal;
    warn?: (message: string) => void;
  } = {},
): Promise<Selector[]> {
  const users = new Users(names);
  for (const message of await users.lookUp(texts, signal)) warn(message);
  const groups: PlainSelector[][] = [];
  let isJoined = true;
  for (const text of texts) {
    if (text === JOINT) {
      if (isJoined) throw looseJoint();
      isJoined = true;
      continue;
    }
    const selector = parseSelector(text, users);
    const last = groups.at(-1);
    if (isJoined && last) last.push(selector);
    else groups.push([selector]);
    isJoined = false;
  }
  if (isJoined) throw looseJoint();
  return groups.map(join);
}

function looseJoint(): UsageError {
  return new UsageError(
    `"${JOINT}" is not between two selectors`,
    `it joins two selectors that must both match, as in exe:/usr/bin/postgres ${JOINT} user:postgres`,
  );
}

/** Makes one selector of one or more that must all match. */
export function join(parts: readonly PlainSelector[]): Selector {
  return parts.length === 1 ? parts[0] : { kind: "joined", parts };
}

/** Knows no names. */
const NO_NAMES: NameLookup = { uidOfUser: () => Promise.resolve(undefined) };

/**
 * Parses a selector of one word.
 *
 * @param users has looked up every user that the selector may name; none by default.
 * @throws UsageError if the text is not a valid selector; the message says what is
 * valid.
 * @throws UserNotKnown if the name service did not resolve a user.
 */
export function parseSelector(
  text: string,
  users = new Users(NO_NAMES),
): PlainSelector {
  try {
    return parseWord(text, users);
  } catch (error) {
    const hint = jointHint(text);
    if (hint === undefined || !isMistake(error)) throw error;
    throw new UsageError(error.problem, hint);
  }
}

/** Whether a selector is wrong, whatever the name service would say. */
function isMistake(error: unknown): error is UsageError {
  return error instanceof UsageError && !(error instanceof UserNotKnown);
}

/**
 * Returns what to do about a selector that is probably meant to be several joined ones,
 * if it is no valid selector, or selects nothing.
 */
export function jointHint(text: string): string | undefined {
  if (!/ \+ ?(?:[a-z]+:|\d+$)/.test(text)) return undefined;
  return `to join selectors, write each and the ${JOINT} between them as an argument of its own, without quotation marks around all of them, or in a configuration as a list within select`;
}

function parseWord(text: string, users: Users): PlainSelector {
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
      return { kind, uid: users.uidOf(value, text), text };
    case "comm":
    case "exe":
      return { kind, matches: globOf(kind, value), text };
    case "cgroup":
      refuseCgroups(users.names, text);
      return { kind, matches: globOf(kind, value), text };
    case "unit": {
      refuseCgroups(users.names, text);
      return { kind, matches: parseUnit(value, text), text };
    }
    case "container":
    case "pod": {
      refuseCgroups(users.names, text);
      const parse = kind === "pod" ? parsePod : parseContainer;
      return { kind, selects: parse(value, text), text };
    }
    case "project":
    case "zone":
      return {
        kind,
        id: parseId(kind, value, { users, selector: text }),
        text,
      };
  }
  if (text === JOINT) throw looseJoint();
  throw new UsageError(
    `"${text}" is not a selector`,
    `use ${selectorHelp(users.names).map(([form]) => form).join(", ")}`,
  );
}

/**
 * Parses a process id.
 *
 * @param what where the value was given, for the message.
 * @throws UsageError if the value is not a valid pid.
 */
export function parsePid(value: string, what: string): number {
  const pid = /^\d+$/.test(value) ? Number(value) : 0;
  if (pid < 1 || pid > LARGEST_PID) {
    throw new UsageError(
      `${what}: "${value}" is not a process id`,
      `a process id is a whole number from 1 to ${LARGEST_PID}`,
    );
  }
  return pid;
}

/** Returns the id of a project or a zone. */
function parseId(
  kind: "project" | "zone",
  value: string,
  { users: { names }, selector }: { users: Users; selector: string },
): number {
  if (!hasProjects(names)) {
    throw new UsageError(
      `selector "${selector}": ${kind}s are an illumos feature`,
    );
  }
  // As with users, the name comes first: the name of a zone may be a number.
  const id = kind === "project"
    ? names.projectIdOf?.(value)
    : names.zoneIdOf?.(value);
  if (id !== undefined) return id;
  if (!/^\d+$/.test(value)) {
    throw new UsageError(
      `selector "${selector}": there is no ${kind} "${value}"`,
      kind === "project"
        ? "projects -l lists the projects"
        : "zoneadm list lists the running zones",
    );
  }
  if (Number(value) <= LARGEST_ID) return Number(value);
  throw new UsageError(
    `selector "${selector}": no ${kind} can have the id ${value}`,
    `an id is a whole number from 0 to ${LARGEST_ID}`,
  );
}

/** The largest `id_t`, by which illumos counts projects and zones: <sys/types.h>. */
const LARGEST_ID = 2 ** 31 - 1;

/** @throws UsageError where there are no cgroups. */
function refuseCgroups(names: NameLookup, selector: string): void {
  if (hasProjects(names)) {
    throw new UsageError(`selector "${selector}": cgroups are a Linux feature`);
  }
}

function globOf(kind: GlobKind, value: string): Glob {
  try {
    const glob = parseGlob(value);
    requirePossible(kind, value);
    return glob;
  } catch (error) {
    if (!(error instanceof MalformedGlob)) throw error;
    throw new UsageError(
      `selector "${kind}:${value}": malformed glob "${value}" (${error.message})`,
      "quote a literal bracket or backslash with a backslash",
    );
  }
}
