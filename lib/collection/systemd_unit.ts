/**
 * Units of systemd, derived from the cgroup of a process.
 *
 * A unit's cgroup is below the cgroups of its slices: in
 * `/system.slice/nginx.service`, the unit is `nginx.service` and `system.slice` is
 * a slice. The unit is the first part after the slices. Everything below it belongs
 * to the delegate of that subtree, a user's manager or a container, which can
 * choose any names there. This is systemd's definition of the unit of a process:
 * sd_pid_get_unit(3), and `cg_path_get_unit` in its source,
 * `src/basic/cgroup-util.c`.
 *
 * @module
 */

import { UsageError } from "../errors.ts";
import { MalformedGlob, parseGlob, shapeOf } from "./glob.ts";

/** Whether a process belongs to a unit, given the path of its cgroup. */
export type UnitTest = (cgroup: string) => boolean;

/** The types of units that have processes: systemd.unit(5). */
const TYPES = ["service", "scope", "slice", "socket", "mount", "swap"];

/** The suffixes of those units, and of the others. */
const SUFFIX = new RegExp(`\\.(?:${TYPES.join("|")})$`);
const OTHER_SUFFIX = /\.(?:target|device|timer|path|automount)$/;

/** A valid name of a unit, or of a template: systemd.unit(5). */
const UNIT_NAME = /^(?!@)[A-Za-z0-9:_.\\@-]{1,249}\.[a-z]+$/;

/** A template, of which only instances are units. */
const TEMPLATE = /^[^@]+@\.[a-z]+$/;

/** What systemctl(1) takes for a glob, and the characters of such a glob. */
const GLOB = /[*?[]/;
const GLOB_NAME = /^[A-Za-z0-9:_.\\@*?[\]!^-]+$/;

/** The manager of a user's own units: user@.service(5). */
const USER_MANAGER = /^user@\d+\.service$/;

/** The root slice, which has no cgroup of its own. */
const ROOT_SLICE = "-.slice";

/**
 * Parses `NAME`, a unit of the system, or `user@UID/NAME`, a unit of a user's own
 * manager. The suffix `.service` may be omitted. As for systemctl(1), a name may be
 * a glob, which matches the whole name with its suffix, and in which backslashes
 * are literal, because names contain them.
 *
 * @param selector the whole selector, for messages.
 * @throws UsageError if the name is not valid, or no such unit has processes.
 */
export function parseUnit(value: string, selector: string): UnitTest {
  const names = value.split("/");
  const [isOuter, isInner, ...more] = names.map((name) =>
    parseName(name, selector)
  );
  if (isInner === undefined) {
    return (cgroup) => isIn(isOuter, placeOf(partsOf(cgroup)));
  }
  const isManager = GLOB.test(names[0])
    ? names[0].startsWith("user@")
    : USER_MANAGER.test(completed(names[0]));
  if (!isManager || more.length > 0) {
    throw new UsageError(
      `selector "${selector}": "${value}" is not a unit`,
      "name a unit of the system, as in unit:nginx, or a unit of a user's own manager by uid, as in unit:user@1000/foo.service",
    );
  }
  return (cgroup) => {
    const { unit, below } = placeOf(partsOf(cgroup));
    return unit !== undefined && USER_MANAGER.test(unit) && isOuter(unit) &&
      isIn(isInner, placeOf(below));
  };
}

/** Whether the name of a unit is one that was written. */
type NameTest = (unit: string) => boolean;

/**
 * Returns the name of the unit of a process, as {@linkcode parseUnit} takes it;
 * `undefined` if it is in none.
 *
 * @param cgroup the path of the cgroup into which systemd has put it.
 */
export function unitOf(cgroup: string): string | undefined {
  const { unit, below } = placeOf(partsOf(cgroup));
  if (unit === undefined || !USER_MANAGER.test(unit)) return unit;
  const own = placeOf(below).unit;
  return own === undefined ? unit : `${unit.replace(/\.service$/, "")}/${own}`;
}

function parseName(name: string, selector: string): NameTest {
  if (GLOB.test(name)) return parseNames(name, selector);
  const wrong = (problem: string, remedy: string) =>
    new UsageError(`selector "${selector}": "${name}" ${problem}`, remedy);
  if (OTHER_SUFFIX.test(name)) {
    throw wrong(
      "is a unit without processes",
      `name one that has: a ${TYPES.join(", a ")}`,
    );
  }
  const unit = completed(name);
  if (TEMPLATE.test(unit)) {
    throw wrong(
      "is a template, which has no processes",
      `name an instance, or all of them: ${unit.replace("@", "@*")}`,
    );
  }
  if (UNIT_NAME.test(unit)) return (other) => other === unit;
  throw wrong("is not a valid unit name", "systemctl lists the units");
}

/** Parses a glob of names. */
function parseNames(glob: string, selector: string): NameTest {
  const wrong = (problem: string, remedy: string) =>
    new UsageError(`selector "${selector}": "${glob}" ${problem}`, remedy);
  if (!GLOB_NAME.test(glob)) {
    throw wrong("matches no valid unit name", "systemctl lists the units");
  }
  const pattern = glob.replaceAll("\\", "\\\\");
  try {
    const test = parseGlob(pattern);
    const { canEnd } = shapeOf(pattern);
    if (TYPES.some((type) => canEnd(`.${type}`))) return test;
  } catch (error) {
    if (!(error instanceof MalformedGlob)) throw error;
    throw wrong(`is a malformed glob (${error.message})`, "correct it");
  }
  throw wrong(
    "can match no unit with processes: their names end in a type",
    `write ${glob}.service, or ${glob}.* for all types`,
  );
}

/** Returns a name with its suffix. */
function completed(name: string): string {
  return SUFFIX.test(name) ? name : `${name}.service`;
}

/** The place of a process in the tree of one manager. */
interface Place {
  /** The slices above it, from the root on. */
  readonly slices: readonly string[];
  /** `undefined` if it is in no unit that systemd knows. */
  readonly unit: string | undefined;
  /** The path below the unit. */
  readonly below: readonly string[];
}

function partsOf(cgroup: string): string[] {
  return cgroup.split("/").filter((part) => part !== "").map(unescaped);
}

function placeOf(parts: readonly string[]): Place {
  const end = parts.findIndex((part) => !isSlice(part));
  const behind = end < 0 ? [] : parts.slice(end);
  const [unit, ...below] = behind;
  return {
    slices: end < 0 ? parts : parts.slice(0, end),
    unit: unit !== undefined && isUnit(unit) ? unit : undefined,
    below,
  };
}

function isIn(isNamed: NameTest, { slices, unit }: Place): boolean {
  return unit !== undefined && isNamed(unit) || slices.some(isNamed) ||
    isNamed(ROOT_SLICE);
}

function isSlice(part: string): boolean {
  return part.endsWith(".slice") && UNIT_NAME.test(part) && !part.includes("@");
}

/** Whether systemd takes a part of a path for a unit that is not a slice. */
function isUnit(part: string): boolean {
  return SUFFIX.test(part) && UNIT_NAME.test(part) && !TEMPLATE.test(part);
}

/**
 * Removes the underscore with which systemd begins the cgroup of a unit whose name
 * is one of the kernel's, such as `tasks`, or begins like one, such as
 * `memory.service`, or with an underscore or a dot: `cg_escape` and `cg_unescape`
 * in src/basic/cgroup-util.c of systemd.
 */
function unescaped(part: string): string {
  return part.replace(/^_/, "");
}
