/**
 * The files of recordings: made anew, for their owner only, and read with bounds.
 *
 * @module
 */

import {
  CommonErrno,
  isDenied,
  isMissing,
  messageOf,
  RcapError,
  SystemError,
} from "../errors.ts";
import type { FileCalls } from "../platform/directory.ts";
import { openTrustedDirectory } from "../platform/trusted_path.ts";
import { RecordingReader } from "./reader.ts";

/** Only the owner reads a recording: it says what processes do. */
const MODE = 0o600;

/** The directory of a path, and its last name. */
function split(path: string): { directory: string; name: string } {
  const at = path.lastIndexOf("/");
  const name = path.slice(at + 1);
  if (name === "" || name === "." || name === "..") {
    throw new RcapError(`"${path}" is not the path of a file`);
  }
  const directory = at < 0 ? "." : path.slice(0, at + 1);
  return { directory, name };
}

/** A recording that is being made; closed by `using`. */
export interface RecordingFile extends Disposable {
  /** Adds bytes at the end. @throws SystemError if the file takes no more. */
  write(bytes: Uint8Array<ArrayBuffer>): void;
  /** Removes it. */
  remove(): void;
}

/**
 * Makes a file that did not exist. Follows no link that others can change, and does not
 * overwrite anything.
 *
 * @param option the option that names it, for messages.
 * @throws RcapError if there is something at the path already, or it cannot be made there.
 */
export function makeRecordingFile(
  files: FileCalls,
  path: string,
  option = "-o",
): RecordingFile {
  const { directory, name } = split(path);
  using cleanup = new DisposableStack();
  try {
    // Whoever can change the directory can remove the file, but not read or change it.
    const held = cleanup.use(
      openTrustedDirectory(files, directory, { onDistrust: () => {} }),
    );
    const file = cleanup.use(held.makeFile(name, MODE));
    const all = cleanup.move();
    return {
      write: (bytes) => file.writeAll(bytes),
      remove: () => held.remove(name),
      [Symbol.dispose]: () => all.dispose(),
    };
  } catch (error) {
    if (isMissing(error) || isDenied(error) || isReadOnly(error)) {
      throw new RcapError(
        `${path} cannot be made: ${
          messageOf(error)
        }; choose another place with ${option}`,
      );
    }
    if (!(error instanceof SystemError) || error.errno !== CommonErrno.EEXIST) {
      throw error;
    }
    throw new RcapError(
      `${path} exists already, and nothing is overwritten; remove it, or choose another name with ${option}`,
    );
  }
}

function isReadOnly(error: unknown): boolean {
  return error instanceof SystemError && error.errno === CommonErrno.EROFS;
}

/** A recording that is open; closed by `using`. */
export interface OpenRecording extends Disposable {
  readonly reader: RecordingReader;
}

/**
 * Opens a recording.
 *
 * @throws RcapError if it does not exist, or is a symbolic link.
 * @throws SystemError, NotAFile if it cannot be opened.
 * @throws DamagedRecording if it is not a recording, or its start is damaged.
 */
export function openRecording(files: FileCalls, path: string): OpenRecording {
  try {
    return openExisting(files, path);
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw new RcapError(
      `there is no file ${path}; rcap record makes a recording`,
    );
  }
}

function openExisting(files: FileCalls, path: string): OpenRecording {
  const { directory, name } = split(path);
  using held = openTrustedDirectory(files, directory, { onDistrust: () => {} });
  using cleanup = new DisposableStack();
  if (held.statusOf(name)?.type === "symbolic link") {
    throw new RcapError(
      `${path} is a symbolic link, which is not followed; name the file itself, which readlink -f shows`,
    );
  }
  const file = cleanup.use(held.openFile(name));
  const reader = new RecordingReader((buffer) => {
    let length = 0;
    while (length < buffer.length) {
      const more = file.read(buffer.subarray(length));
      if (more === 0) break;
      length += more;
    }
    return length;
  }, path);
  const all = cleanup.move();
  return { reader, [Symbol.dispose]: () => all.dispose() };
}
