/**
 * Which globs can match a name or a path of a process at all. One that cannot is a
 * mistake, which would otherwise look like a process that does not run.
 *
 * @module
 */

import { UsageError } from "../errors.ts";
import { type GlobShape, parseGlob, shapeOf } from "./glob.ts";

/** A kind of selector that takes a glob. */
export type GlobKind = "comm" | "exe" | "cgroup";

/**
 * The most bytes of a command name: `TASK_COMM_LEN` of include/linux/sched.h, and
 * `PRFNSZ` of <sys/procfs.h> of illumos, are 16, with the zero byte at the end.
 */
const COMM_BYTES = 15;

/**
 * Refuses a glob that can match no process.
 *
 * @param value the glob, which is well-formed.
 * @throws UsageError if no process can match; the remedy is a selector that can.
 */
export function requirePossible(kind: GlobKind, value: string): void {
  const shape = shapeOf(value);
  if (kind === "comm") requireCommandName(value, shape);
  else requirePath(kind, value, shape);
}

function requireCommandName(value: string, { leastBytes }: GlobShape): void {
  if (leastBytes <= COMM_BYTES) return;
  const cut = /[*?[\]\\]/.test(value)
    ? ""
    : `, or by the first ${COMM_BYTES} bytes: comm:${firstBytes(value)}`;
  throw impossible(
    `comm:${value}`,
    `the system cuts command names to ${COMM_BYTES} bytes`,
    `select by program: exe:*/${value}${cut}`,
  );
}

/** Returns a glob of what is left of a text that is cut to {@linkcode COMM_BYTES}. */
function firstBytes(text: string): string {
  let left = COMM_BYTES;
  let start = "";
  for (const character of text) {
    left -= new TextEncoder().encode(character).length;
    if (left < 0) return `${start}?`;
    start += character;
    if (left === 0) break;
  }
  return start;
}

const OWNERS = { exe: "program", cgroup: "cgroup" } as const;

function requirePath(
  kind: "exe" | "cgroup",
  value: string,
  { canBegin }: GlobShape,
): void {
  const path = `the path of a ${OWNERS[kind]}`;
  const rest = value.replace(/\/+$/, "");
  const isFolder = rest !== value;
  const below = isFolder ? "/*" : "";
  if (!canBegin("/")) {
    throw impossible(
      `${kind}:${value}`,
      `${path} begins with a slash`,
      `write ${kind}:/${rest}${below}, or ${kind}:*/${rest}${below} for any place`,
    );
  }
  // The root of all cgroups is the only path that ends in a slash.
  const isRoot = kind === "cgroup" && parseGlob(value)("/");
  if (!isFolder || isRoot) return;
  throw impossible(
    `${kind}:${value}`,
    `${path} does not end in a slash`,
    `write ${kind}:${rest}${below} for all below it`,
  );
}

function impossible(
  selector: string,
  reason: string,
  remedy: string,
): UsageError {
  return new UsageError(
    `selector "${selector}" can match no process: ${reason}`,
    remedy,
  );
}
