/**
 * Units of systemd, told by the cgroup that a process is in.
 *
 * A unit's cgroup lies in those of its slices: of `/system.slice/nginx.service`,
 * the unit is `nginx.service` and `system.slice` is a slice. The unit is what
 * stands first behind the slices: what lies below it belongs to whoever was given
 * that part of the tree, a user's manager or a container, and may be named at will
 * there. So is what systemd means by the unit of a process: sd_pid_get_unit(3), and
 * `cg_path_get_unit` in its source, `src/basic/cgroup-util.c`.
 *
 * @module
 */

import { UsageError } from "../errors.ts";

/** Tells by the path of its cgroup whether a process belongs to a unit. */
export type UnitTest = (cgroup: string) => boolean;

/** Ends the name of every unit that has processes: systemd.unit(5). */
const UNIT_SUFFIX = /\.(service|scope|slice|socket|mount|swap)$/;

/** What a name of a unit may consist of: systemd.unit(5). */
const UNIT_NAME = /^[A-Za-z0-9:_.\\@-]{1,249}\.[a-z]+$/;

/** The manager of a user's own units: user@.service(5). */
const USER_MANAGER = /^user@\d+\.service$/;

/** The slice that all others are below; it has no cgroup of its own. */
const ROOT_SLICE = "-.slice";

/**
 * Understands `NAME`, a unit of the system, and `user@UID/NAME`, one of a user's
 * own manager. `.service` need not be written.
 *
 * @param selector where it stands, for messages.
 * @throws UsageError when no unit can have that name.
 */
export function parseUnit(value: string, selector: string): UnitTest {
  const [outer, inner, ...more] = value.split("/").map((name) =>
    unitName(name, selector)
  );
  if (inner === undefined) {
    return (cgroup) => isIn(outer, placeOf(partsOf(cgroup)));
  }
  if (!USER_MANAGER.test(outer) || more.length > 0) {
    throw new UsageError(
      `selector "${selector}": "${value}" is not a unit`,
      "name a unit of the system, as in unit:nginx, or one of a user's own manager by his uid, as in unit:user@1000/foo.service",
    );
  }
  return (cgroup) => {
    const { unit, below } = placeOf(partsOf(cgroup));
    return unit === outer && isIn(inner, placeOf(below));
  };
}

function unitName(name: string, selector: string): string {
  const unit = UNIT_SUFFIX.test(name) ? name : `${name}.service`;
  if (UNIT_NAME.test(unit)) return unit;
  throw new UsageError(
    `selector "${selector}": no unit can be named "${name}"`,
    "systemctl lists those there are; cgroup: takes globs",
  );
}

/** Where a process is in the tree of one manager. */
interface Place {
  /** The slices from the root on; those it is directly or further below. */
  readonly slices: readonly string[];
  /** `undefined` where it is in no unit, or in none that systemd knows. */
  readonly unit: string | undefined;
  /** What follows the unit. */
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
    unit: unit !== undefined && UNIT_NAME.test(unit) ? unit : undefined,
    below,
  };
}

function isIn(name: string, { slices, unit }: Place): boolean {
  if (!isSlice(name)) return unit === name;
  return name === ROOT_SLICE || slices.includes(name);
}

function isSlice(part: string): boolean {
  return part.endsWith(".slice") && UNIT_NAME.test(part) && !part.includes("@");
}

/** A name without the underscore that keeps it apart from the kernel's own. */
function unescaped(part: string): string {
  return part.replace(/^_/, "");
}
