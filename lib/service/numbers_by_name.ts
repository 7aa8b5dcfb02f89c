/**
 * The folders of a state directory that hold a number for each of some groups, set by
 * hand: caps and pauses. A file each, whose name is that of the group.
 *
 * @module
 */

import { isExhausted, isMissing, RcapError, SystemError } from "../errors.ts";
import { type Entry, NotAFile, readUpTo } from "../platform/directory.ts";
import {
  DistrustError,
  openFileIn,
  openTrustedDirectory,
} from "../platform/trusted_path.ts";

/** A kind of numbers, in a folder of their own. */
export interface NumberFolder {
  /** The name of the folder. */
  readonly name: string;
  /** What one of the numbers is, for messages. */
  readonly what: string;
  /** What its file holds, for messages. */
  readonly holds: string;
}

/** The caps set by hand, in bytes. */
export const OVERRIDES: NumberFolder = {
  name: "overrides",
  what: "a cap set by hand",
  holds: "a number of bytes",
};

/** Until when groups are paused, in seconds since the epoch. */
export const PAUSES: NumberFolder = {
  name: "pauses",
  what: "a pause",
  holds: "a time in seconds",
};

/** Follows the name of a file in temporary files; names of caps have no tilde. */
export const TEMPORARY = "~";

export const DIRECTORY_MODE = 0o755;
const FILE_MODE = 0o644;

/** More than the digits of a number, in bytes. */
const LARGEST_NUMBER = 64;

/**
 * Reads the numbers of a folder, by the name of the group.
 *
 * @param warn called with each file that does not hold one.
 * @throws RcapError if none of the files can be read, for instance without a descriptor.
 */
export function readNumbers(
  directory: Entry,
  kind: NumberFolder,
  warn: (text: string) => void,
): Map<string, number> {
  const numbers = new Map<string, number>();
  using folder = openFolder(directory, kind);
  for (const file of folder?.names() ?? []) {
    const name = groupOf(file);
    if (!folder || name === undefined) continue;
    try {
      const number = readNumber(folder, file, kind);
      if (number !== undefined) numbers.set(name, number);
    } catch (error) {
      const isOfFile = error instanceof NotAFile ||
        error instanceof DistrustError || error instanceof NoNumber;
      // Without a descriptor or memory, none of the files can be read.
      const isOfSystem = isExhausted(error);
      if (!isOfFile && !(error instanceof SystemError) || isOfSystem) {
        throw error;
      }
      warn(
        `${
          folder.pathOf(file)
        } is not ${kind.what} (${error.message}); remove it`,
      );
    }
  }
  return numbers;
}

/**
 * Sets the number of a group, or removes it.
 *
 * @param value a positive integer, or `undefined` to remove it.
 */
export function writeNumber(
  directory: Entry,
  kind: NumberFolder,
  { name, value }: { name: string; value: number | undefined },
): void {
  if (value !== undefined) directory.makeDirectory(kind.name, DIRECTORY_MODE);
  using folder = openFolder(directory, kind);
  const file = encodeURIComponent(name);
  if (value === undefined) {
    folder?.remove(file);
  } else if (folder) {
    // Another command may set the same number now.
    const temporary = `${file}${TEMPORARY}${Deno.pid}`;
    replaceFile(folder, { name: file, temporary, text: `${value}\n` });
  }
}

/**
 * Removes a folder with its files.
 *
 * @param keeps whether the file of a group stays; the folder does if one does.
 * @param warn called if the folder cannot be removed.
 */
export function clearNumbers(
  directory: Entry,
  kind: NumberFolder,
  { keeps = () => false, warn }: {
    keeps?: (name: string) => boolean;
    warn: (text: string) => void;
  },
): void {
  const folder = entryIfAny(directory, kind.name);
  if (!folder) return;
  using _ = folder;
  if (folder.status.type !== "directory") {
    directory.remove(kind.name);
    return;
  }
  let kept = 0;
  for (const file of folder.names()) {
    const name = groupOf(file);
    const status = folder.statusOf(file);
    if (name !== undefined && keeps(name)) kept++;
    // rcap makes no directories there, so somebody else did, for a reason.
    else if (status && status.type !== "directory") folder.remove(file);
  }
  if (kept > 0) return;
  try {
    directory.removeDirectory(kind.name);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    warn(`${folder.path} cannot be removed (${error.message})`);
  }
}

/** Opens a folder; `undefined` if it does not exist. */
function openFolder(
  directory: Entry,
  { name }: NumberFolder,
): Entry | undefined {
  try {
    return openTrustedDirectory(directory.files, name, { from: directory });
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** A file does not hold a number. */
class NoNumber extends RcapError {
  override name = "NoNumber";
}

/** @returns `undefined` if it was removed meanwhile. */
function readNumber(
  folder: Entry,
  file: string,
  { holds }: NumberFolder,
): number | undefined {
  let text;
  try {
    using opened = openFileIn(folder, file);
    const bytes = readUpTo(opened, LARGEST_NUMBER);
    text = bytes && new TextDecoder().decode(bytes);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  const isNumber = text !== undefined && /^[1-9]\d*\n$/.test(text);
  const number = Number(text);
  if (isNumber && Number.isSafeInteger(number)) return number;
  throw new NoNumber(`it does not hold ${holds}`);
}

/** The name of the group that a file is for; `undefined` for a temporary file. */
function groupOf(file: string): string | undefined {
  try {
    return file.includes(TEMPORARY) ? undefined : decodeURIComponent(file);
  } catch (error) {
    // Not a file of rcap.
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

/** Replaces a file atomically. */
export function replaceFile(
  directory: Entry,
  { name, temporary, text, mode = FILE_MODE }: {
    name: string;
    temporary: string;
    text: string;
    mode?: number;
  },
): void {
  directory.remove(temporary);
  try {
    using file = directory.makeFile(temporary, mode);
    file.writeAll(text);
  } catch (error) {
    directory.remove(temporary);
    throw error;
  }
  directory.rename(temporary, name);
}

function entryIfAny(directory: Entry, name: string): Entry | undefined {
  try {
    return directory.entry(name);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
