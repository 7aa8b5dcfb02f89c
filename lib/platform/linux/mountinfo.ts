/**
 * The mounts of a mount namespace: `/proc/<pid>/mountinfo`,
 * proc_pid_mountinfo(5).
 *
 * @module
 */

/** A mount. */
export interface Mount {
  /** Its number, unique on the machine while the mount exists. */
  readonly id: bigint;
  /** The device of its file system. */
  readonly device: bigint;
  /** The directory of its file system that is mounted. */
  readonly root: string;
  /** The mount point. */
  readonly directory: string;
  /** The type of its file system. */
  readonly type: string;
  /** Options of its file system. */
  readonly options: readonly string[];
}

/** Parses a `mountinfo`; returns the mounts in the order in which they were made. */
export function parseMountinfo(text: string): Mount[] {
  return text.split("\n").flatMap((line) => {
    // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    const [, id, major, minor, root, directory, type, options] =
      /^(\d+) \d+ (\d+):(\d+) (\S+) (\S+) .*? - (\S+) \S* ?(\S*)$/.exec(line) ??
        [];
    if (id === undefined) return [];
    return [{
      id: BigInt(id),
      device: BigInt(major) << 32n | BigInt(minor),
      root: unescaped(root),
      directory: unescaped(directory),
      type: unescaped(type),
      options: options.split(","),
    }];
  });
}

/**
 * Returns the mount that contains a path; `undefined` if there is none. Of several
 * mounts in one place, the last hides the others.
 */
export function mountOf(
  path: string,
  mounts: readonly Mount[],
): Mount | undefined {
  let found: Mount | undefined;
  for (const mount of mounts) {
    const { directory } = mount;
    const isAbove = directory === "/" || path === directory ||
      path.startsWith(`${directory}/`);
    if (isAbove && directory.length >= (found?.directory.length ?? 0)) {
      found = mount;
    }
  }
  return found;
}

/** Decodes the octal escapes of spaces, tabs, newlines and backslashes. */
function unescaped(text: string): string {
  return text.replace(
    /\\([0-7]{3})/g,
    (_, digits) => String.fromCharCode(parseInt(digits, 8)),
  );
}
