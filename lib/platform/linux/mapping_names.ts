/**
 * Names of mappings, as the last column of `/proc/<pid>/maps` has them: what they
 * say of a mapping, and how much of them is kept. Whoever maps the memory chooses
 * them, up to the length of a path, tens of thousands of times over.
 *
 * @module
 */

/** Mappings that the kernel itself provides. */
const SPECIAL_NAMES: ReadonlySet<string> = new Set([
  "[vdso]",
  "[vvar]",
  "[vvar_vclock]",
  "[vsyscall]",
  "[uprobes]",
]);

/** Whether a mapping is one that the kernel itself provides. */
export function isSpecialName(name: string): boolean {
  return SPECIAL_NAMES.has(name);
}

/** How the names of shared memory begin, which are written like those of files. */
const MEMORY_FILES = ["/memfd:", "/SYSV", "/dev/zero (deleted)"];

/** Whether a name is that of shared memory, whose pages have no home but swap. */
function isMemoryFileName(name: string): boolean {
  return MEMORY_FILES.some((start) => name.startsWith(start));
}

/** Whether a name is that of a file on a file system. */
export function isFileName(name: string): boolean {
  return name.startsWith("/") && !isMemoryFileName(name);
}

/** Stands for all names that are neither empty nor a file's nor the kernel's own. */
const OTHER = "[]";
/** Stands for all names of files, and for all of shared memory. */
const FILE = "/";
const [MEMORY_FILE] = MEMORY_FILES;

/**
 * A name that stands for all names of a kind: those that make no difference to what
 * can be done with a mapping.
 */
export function kindOfName(name: string): string {
  if (name === "" || isSpecialName(name)) return name;
  if (!name.startsWith("/")) return OTHER;
  return isMemoryFileName(name) ? MEMORY_FILE : FILE;
}

/** Where names come from, by what is kept of them. */
export type NamesKept =
  /** All of each, within limits. */
  | "all"
  /** What {@linkcode kindOfName} makes of it. */
  | "kinds";

/** How much of a name is kept, in bytes: a path of the longest that programs can use, `PATH_MAX`. */
const LONGEST_NAME = 4096;
/** How much of all names of a reading is kept, in bytes, and of each beyond that. */
const MOST_NAMES = 16 << 20;
const LONGEST_BEYOND = 64;
/** Enough of a name to tell its kind. */
const TELLING = 32;

const SLASH = 0x2f;
const BACKSLASH = 0x5c;

const decoder = new TextDecoder();

/** The names of one reading; equal ones are kept once. */
export class Names {
  readonly #kept: NamesKept;
  readonly #known = new Map<string, string>();
  #bytes = 0;

  constructor(kept: NamesKept) {
    this.#kept = kept;
  }

  /** The name that stands at a place of a text, or what is kept of it. */
  at(text: Uint8Array, from: number, to: number): string {
    if (from === to) return "";
    return this.#kept === "all"
      ? this.#whole(text, from, to)
      : kindAt(text, from, to);
  }

  #whole(text: Uint8Array, from: number, to: number): string {
    const longest = this.#bytes < MOST_NAMES ? LONGEST_NAME : LONGEST_BEYOND;
    const end = Math.min(to, from + longest);
    const written = decoder.decode(text.subarray(from, end)) +
      (end < to ? "…" : "");
    const known = this.#known.get(written);
    if (known !== undefined) return known;
    this.#bytes += end - from;
    // The kernel writes a newline in a path as these four characters.
    const name = text.subarray(from, end).includes(BACKSLASH)
      ? written.replaceAll("\\012", "\n")
      : written;
    this.#known.set(written, name);
    return name;
  }
}

/** The kind of a name, without making a string of what is a file's, as most are. */
function kindAt(text: Uint8Array, from: number, to: number): string {
  if (text[from] === SLASH) {
    const isMemory = MEMORY_FILE_BYTES.some((start) =>
      startsWith(text, from, start)
    );
    return isMemory ? MEMORY_FILE : FILE;
  }
  return kindOfName(
    decoder.decode(text.subarray(from, Math.min(to, from + TELLING))),
  );
}

const MEMORY_FILE_BYTES = MEMORY_FILES.map((name) =>
  new TextEncoder().encode(name)
);

/** Whether `prefix` stands at a place of the text. */
export function startsWith(
  text: Uint8Array,
  at: number,
  prefix: Uint8Array,
): boolean {
  for (let i = 0; i < prefix.length; i++) {
    if (text[at + i] !== prefix[i]) return false;
  }
  return true;
}
