/**
 * Finds the devices of memory file systems in `/proc/<pid>/mountinfo`: their pages
 * go to swap, not to a disk. See proc_pid_mountinfo(5).
 *
 * The owner of a mount namespace controls it: it may hold 100,000 mounts with paths
 * of any length. The parser takes the text in parts, keeps only the devices, and
 * reads only the beginning of a line that is too long.
 *
 * @module
 */

/**
 * The most devices that are kept. A file on a further one is taken for a file on
 * disk, and its pages stay.
 */
const MOST_DEVICES = 4096;

/** The most bytes of a line that are kept: the file system type follows two paths. */
const LONGEST_LINE = 16384;

const NEWLINE = 0x0a;

const MEMORY_FILE_SYSTEMS = ["tmpfs", "devtmpfs", "ramfs"];

/** The third field. */
const DEVICE = /^\S+ \S+ (\d{1,9}):(\d{1,9}) /;

const decoder = new TextDecoder();

/** Finds memory file systems in the text of mountinfo. */
export class MemoryDevicesParser {
  readonly #devices = new Set<string>();
  readonly #line = new Uint8Array(LONGEST_LINE);
  #length = 0;

  /** The devices, in the form of maps: `00:1a`. */
  get devices(): ReadonlySet<string> {
    return this.#devices;
  }

  /** Takes a part of the text, which may begin and end anywhere. */
  push(text: Uint8Array): void {
    for (let at = 0; at < text.length;) {
      const newline = text.indexOf(NEWLINE, at);
      const end = newline < 0 ? text.length : newline;
      const part = text.subarray(at, end);
      const room = LONGEST_LINE - this.#length;
      this.#line.set(part.subarray(0, room), this.#length);
      this.#length += Math.min(room, part.length);
      if (newline < 0) return;
      this.#take(this.#line.subarray(0, this.#length));
      this.#length = 0;
      at = newline + 1;
    }
  }

  #take(line: Uint8Array): void {
    // Most lines are not about memory file systems, and not worth a string.
    if (!maybeMemory(line) || this.#devices.size >= MOST_DEVICES) return;
    const text = decoder.decode(line);
    // The type of the file system follows a field that is a hyphen. A space in a
    // path appears as \040.
    const type = / - (\S+) /.exec(text)?.[1];
    if (!type || !MEMORY_FILE_SYSTEMS.includes(type)) return;
    const [, major, minor] = DEVICE.exec(text) ?? [];
    if (minor === undefined) return;
    this.#devices.add(`${hex2(Number(major))}:${hex2(Number(minor))}`);
  }
}

const MARKS = MEMORY_FILE_SYSTEMS.map((name) =>
  new TextEncoder().encode(` - ${name} `)
);

/** Whether a line contains the type of a memory file system. */
function maybeMemory(line: Uint8Array): boolean {
  const [SPACE, HYPHEN] = MARKS[0];
  for (
    let at = line.indexOf(HYPHEN);
    at > 0;
    at = line.indexOf(HYPHEN, at + 1)
  ) {
    if (line[at - 1] !== SPACE || line[at + 1] !== SPACE) continue;
    return MARKS.some((mark) =>
      mark.every((byte, index) => line[at - 1 + index] === byte)
    );
  }
  return false;
}

/** Formats a device number as maps does. */
function hex2(number: number): string {
  return number.toString(16).padStart(2, "0");
}
