/**
 * The status of a file, independent of the system: inode(7).
 *
 * @module
 */

/** The type of an entry; a `file` is a regular file. */
export type FileType =
  | "device"
  | "directory"
  | "file"
  | "pipe"
  | "socket"
  | "symbolic link";

/** The status of a file. */
export interface FileStatus {
  readonly type: FileType;
  /** Permission bits, with set-id and sticky bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /**
   * Whether an access control list lets users or groups other than root write to the
   * file, which `mode` and `gid` do not show. The list is read on first use, when the
   * file must still be open; `false` if the file was not opened.
   *
   * @throws SystemError if the list cannot be read.
   */
  readonly isWritableByList: boolean;
  /** Number of hard links. */
  readonly links: number;
  /** In bytes. */
  readonly size: number;
  /** The device of its file system, as text. */
  readonly device: string;
  readonly inode: bigint;
}

// Types of files in a mode, the same on Linux and illumos.
const S_IFMT = 0o170000;
const TYPES: ReadonlyMap<number, FileType> = new Map([
  [0o010000, "pipe"],
  [0o020000, "device"],
  [0o040000, "directory"],
  [0o060000, "device"],
  [0o100000, "file"],
  [0o120000, "symbolic link"],
  [0o140000, "socket"],
]);

/** The type of a file and its permissions, of an `st_mode`. */
export function partsOfMode(
  mode: number,
): Pick<FileStatus, "type" | "mode"> {
  // The doors and event ports of illumos are opened like devices.
  return {
    type: TYPES.get(mode & S_IFMT) ?? "device",
    mode: mode & ~S_IFMT,
  };
}

/** Tells files apart, whatever their names. */
export function identityOf({ device, inode }: FileStatus): string {
  return `${device}:${inode}`;
}
