/**
 * Which of nested cgroups is the one that a cap is about.
 *
 * @module
 */

/**
 * The topmost selected cgroup that a path leads to or through; `undefined` if none is.
 *
 * @param matches whether a cgroup is selected, by its path.
 */
export function topmost(
  path: string,
  matches: (path: string) => boolean,
): string | undefined {
  if (matches("/")) return "/";
  for (
    let end = path.indexOf("/", 1);
    end > 0;
    end = path.indexOf("/", end + 1)
  ) {
    if (matches(path.slice(0, end))) return path.slice(0, end);
  }
  return matches(path) ? path : undefined;
}
