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

/** Whether a process belongs to a unit, given the path of its cgroup. */
export type UnitTest = (cgroup: string) => boolean;

/** The suffixes of units that have processes: systemd.unit(5). */
const UNIT_SUFFIX = /\.(service|scope|slice|socket|mount|swap)$/;

/** A valid name of a unit: systemd.unit(5). */
const UNIT_NAME = /^[A-Za-z0-9:_.\\@-]{1,249}\.[a-z]+$/;

/** The manager of a user's own units: user@.service(5). */
const USER_MANAGER = /^user@\d+\.service$/;

/** The root slice, which has no cgroup of its own. */
const ROOT_SLICE = "-.slice";

/**
 * Parses `NAME`, a unit of the system, or `user@UID/NAME`, a unit of a user's own
 * manager. The suffix `.service` may be omitted.
 *
 * @param selector the whole selector, for messages.
 * @throws UsageError if the name is not valid.
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
      "name a unit of the system, as in unit:nginx, or a unit of a user's own manager by uid, as in unit:user@1000/foo.service",
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
    `selector "${selector}": "${name}" is not a valid unit name`,
    "systemctl lists the units; cgroup: takes globs",
  );
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

/**
 * Removes the underscore that distinguishes a name from the kernel's reserved
 * names.
 */
function unescaped(part: string): string {
  return part.replace(/^_/, "");
}
