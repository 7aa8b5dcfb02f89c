/**
 * Names of mappings, from the last column of `/proc/<pid>/maps`: what they say
 * about a mapping, and how much of them is kept. The process chooses them, up to
 * the length of a path, tens of thousands of times.
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

/** Prefixes of the names of shared memory, which look like paths of files. */
const MEMORY_FILES = ["/memfd:", "/SYSV", "/dev/zero (deleted)"];

/** Whether a name is that of shared memory, whose pages can go only to swap. */
function isMemoryFileName(name: string): boolean {
  return MEMORY_FILES.some((start) => name.startsWith(start));
}

/** Whether a name is that of a file on a file system. */
export function isFileName(name: string): boolean {
  return name.startsWith("/") && !isMemoryFileName(name);
}

/** The kind of all names that are neither empty nor a file's nor the kernel's. */
const OTHER = "[]";
/** The kinds of the names of files and of shared memory. */
const FILE = "/";
const [MEMORY_FILE] = MEMORY_FILES;

/**
 * Returns the name of a kind: the kind contains all names that are equivalent for
 * page-outs.
 */
export function kindOfName(name: string): string {
  if (name === "" || isSpecialName(name)) return name;
  if (!name.startsWith("/")) return OTHER;
  return isMemoryFileName(name) ? MEMORY_FILE : FILE;
}

/** How much of names is kept. */
export type NamesKept =
  /** Full names, within limits. */
  | "all"
  /** The result of {@linkcode kindOfName}. */
  | "kinds";

/**
 * The most bytes of a name that are kept: `PATH_MAX`, the longest path that
 * programs can use.
 */
const LONGEST_NAME = 4096;
/**
 * The most bytes of all names of one reading that are kept, and the most of each
 * name beyond that.
 */
const MOST_NAMES = 16 << 20;
const LONGEST_BEYOND = 64;
/** Bytes of a name that suffice to find its kind. */
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

  /** Returns the name at a place in a text, or the kept part of it. */
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

/** Returns the kind of a name without making a string of file names, the majority. */
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

/** Whether the text contains `prefix` at an offset. */
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
