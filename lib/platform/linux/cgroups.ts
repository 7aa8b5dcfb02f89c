/**
 * The cgroups of a process: `/proc/<pid>/cgroup`, cgroups(7).
 *
 * @module
 */

/** Where a process is in one hierarchy of cgroups. */
export interface CgroupPlace {
  /** Its controllers, or `name=` and its name; empty for version 2. */
  readonly hierarchy: string;
  /** From the root of the hierarchy, as the cgroup namespace of rcap has it. */
  readonly path: string;
}

/** Understands `hierarchy-ID:controller-list:cgroup-path` lines. */
export function parseCgroups(text: string): CgroupPlace[] {
  return text.split("\n").filter((line) => line !== "").map((line) => {
    const [, hierarchy = "", ...path] = line.split(":");
    return { hierarchy, path: path.join(":") };
  });
}

/** The hierarchy in which systemd has its units where version 2 is not in use. */
const SYSTEMD = "name=systemd";

/**
 * The path of the cgroup that systemd has a process in. Where there are both
 * versions, systemd has it in both; where only one of them is systemd's, the process
 * is at the root of the other. Hierarchies of controllers do not count: who may
 * make cgroups there names them at will.
 */
export function systemdPath(
  places: readonly CgroupPlace[],
): string | undefined {
  const pathIn = (name: string) =>
    places.find(({ hierarchy }) => hierarchy === name)?.path;
  const named = pathIn(SYSTEMD);
  return named === undefined || named === "/" ? pathIn("") ?? named : named;
}

/**
 * Whether a path leads out of the cgroup namespace that rcap runs in, so that it
 * does not tell where the cgroup is: cgroup_namespaces(7).
 */
export function isOutside(path: string): boolean {
  return path === "/.." || path.startsWith("/../");
}
