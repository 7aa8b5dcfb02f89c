/**
 * Parses `/proc/<pid>/smaps` and `/proc/<pid>/maps`: proc_pid_smaps(5),
 * proc_pid_maps(5), Documentation/filesystems/proc.rst.
 *
 * The parser works on bytes. It reads a mapping's header line and, of the lines
 * below it, the fields that rcap needs, which it knows by their first letters.
 *
 * @module
 */

import {
  MA_ANON,
  MA_EXEC,
  MA_READ,
  MA_SHARED,
  MA_WRITE,
} from "../../scanner/mapping_flags.ts";

/** A mapping, as the kernel tells of it. Sizes in bytes; 0 where only maps was read. */
export interface LinuxMapping {
  readonly start: bigint;
  readonly end: bigint;
  /** As in maps: `rw-p`. */
  readonly perm: string;
  /** Major and minor number of the file's device, as in maps: `fe:01`. */
  readonly device: string;
  /** Path of the file, or a name like `[heap]`; empty for anonymous memory. */
  readonly name: string;
  /** Page size of the mapping's page table entries. */
  pageSize: number;
  rss: number;
  /** Of `rss`, what is mapped by others too. */
  shared: number;
  /** Of `rss`, what is modified as against its file or swap. */
  dirty: number;
  /** Of `rss`, what was accessed since references were last cleared. */
  referenced: number;
  /** Of `rss`, what belongs to no file. */
  anonymous: number;
  /** What of it is in swap. */
  swap: number;
  /** Of `rss`, what is locked in memory; counted proportionally. */
  locked: number;
  /** `VmFlags`, two letters each. */
  flags: ReadonlySet<string>;
}

/** The mapping's flags as the scanner knows them. */
export function flagsOf({ perm, name }: LinuxMapping): number {
  return (perm[0] === "r" ? MA_READ : 0) | (perm[1] === "w" ? MA_WRITE : 0) |
    (perm[2] === "x" ? MA_EXEC : 0) | (perm[3] === "s" ? MA_SHARED : 0) |
    (name === "" ? MA_ANON : 0);
}

const NEWLINE = 0x0a;
const SPACE = 0x20;

const NO_FLAGS: ReadonlySet<string> = new Set();
const decoder = new TextDecoder();

/** Fields in kB, told by the bytes of their names. */
const FIELDS: readonly {
  name: Uint8Array;
  add: (mapping: LinuxMapping, bytes: number) => void;
}[] = Object.entries({
  "Rss:": (m: LinuxMapping, bytes: number) => m.rss = bytes,
  "Referenced:": (m: LinuxMapping, bytes: number) => m.referenced = bytes,
  "Anonymous:": (m: LinuxMapping, bytes: number) => m.anonymous = bytes,
  "Swap:": (m: LinuxMapping, bytes: number) => m.swap = bytes,
  "Locked:": (m: LinuxMapping, bytes: number) => m.locked = bytes,
  "KernelPageSize:": (m: LinuxMapping, bytes: number) => m.pageSize = bytes,
  "Shared_Clean:": (m: LinuxMapping, bytes: number) => m.shared += bytes,
  "Shared_Dirty:": (m: LinuxMapping, bytes: number) => {
    m.shared += bytes;
    m.dirty += bytes;
  },
  "Private_Dirty:": (m: LinuxMapping, bytes: number) => m.dirty += bytes,
}).map(([name, add]) => ({ name: new TextEncoder().encode(name), add }));

/** The fields by their first byte. */
const FIELDS_BY_LETTER: readonly (typeof FIELDS | undefined)[] = Array.from(
  { length: 256 },
  (_, letter) => {
    const fields = FIELDS.filter(({ name }) => name[0] === letter);
    return fields.length > 0 ? fields : undefined;
  },
);

/**
 * Parses the text of smaps, or of maps.
 *
 * @throws SyntaxError when a line is neither.
 */
export function parseSmaps(text: Uint8Array<ArrayBuffer>): LinuxMapping[] {
  const parser = new SmapsParser();
  parser.push(text);
  return parser.end();
}

/**
 * Parses the text of smaps, or of maps, as it is read.
 *
 * The kernel writes the text in pieces, and mappings may change between two of
 * them; what then overlaps the mapping before it is left out, so that the result
 * is always in address order.
 */
export class SmapsParser {
  readonly #mappings: LinuxMapping[] = [];
  readonly #flagSets = new FlagSets();
  #current: LinuxMapping | undefined;
  #end = 0n;
  /** The beginning of a line whose end is yet to come. */
  #rest = new Uint8Array(0);

  /**
   * Takes a part of the text, which may begin and end anywhere.
   *
   * @throws SyntaxError when a line is none of smaps or maps.
   */
  push(text: Uint8Array<ArrayBuffer>): void {
    let at = 0;
    if (this.#rest.length > 0) {
      const newline = text.indexOf(NEWLINE);
      const line = joined(
        this.#rest,
        text.subarray(0, newline + 1 || undefined),
      );
      if (newline < 0) {
        this.#rest = line;
        return;
      }
      this.#rest = new Uint8Array(0);
      this.#parseLine(line, 0, line.length - 1);
      at = newline + 1;
    }
    for (;;) {
      const newline = text.indexOf(NEWLINE, at);
      if (newline < 0) break;
      this.#parseLine(text, at, newline);
      at = newline + 1;
    }
    if (at < text.length) this.#rest = text.slice(at);
  }

  /** The mappings of all the text. */
  end(): LinuxMapping[] {
    if (this.#rest.length > 0) {
      this.#parseLine(this.#rest, 0, this.#rest.length);
    }
    return this.#mappings;
  }

  #parseLine(text: Uint8Array, at: number, lineEnd: number): void {
    const first = text[at];
    // Header lines begin with a hexadecimal digit in lower case, others with a
    // capital letter.
    if (first >= 0x30 && first <= 0x39 || first >= 0x61 && first <= 0x66) {
      const mapping = parseHeader(text, at, lineEnd);
      this.#current = mapping.start < this.#end ? undefined : mapping;
      if (this.#current) {
        this.#mappings.push(this.#current);
        this.#end = this.#current.end;
      }
    } else if (this.#current) {
      parseField(text, at, lineEnd, this.#current, this.#flagSets);
    }
  }
}

function joined(
  first: Uint8Array<ArrayBuffer>,
  second: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

/** Parses `start-end perm offset device inode name`. */
function parseHeader(
  text: Uint8Array,
  from: number,
  to: number,
): LinuxMapping {
  const line = decoder.decode(text.subarray(from, to));
  const match =
    /^([0-9a-f]{1,16})-([0-9a-f]{1,16}) (\S{4}) [0-9a-f]+ (\S+) \d+ *(.*)$/s
      .exec(line);
  const start = BigInt(`0x${match?.[1] ?? 0}`);
  const end = BigInt(`0x${match?.[2] ?? 0}`);
  if (!match || start >= end) throw malformed(line);
  const [, , , perm, device, name] = match;
  return {
    start,
    end,
    perm,
    device,
    // The kernel writes a newline in a path as these four characters.
    name: name.includes("\\012") ? name.replaceAll("\\012", "\n") : name,
    pageSize: 4096,
    rss: 0,
    shared: 0,
    dirty: 0,
    referenced: 0,
    anonymous: 0,
    swap: 0,
    locked: 0,
    flags: NO_FLAGS,
  };
}

/** Parses `Name:   number kB`, or the line of flags. */
function parseField(
  text: Uint8Array,
  from: number,
  to: number,
  mapping: LinuxMapping,
  flagSets: FlagSets,
): void {
  const fields = FIELDS_BY_LETTER[text[from]];
  if (fields) {
    for (const { name, add } of fields) {
      if (startsWith(text, from, name)) {
        add(mapping, parseNumber(text, from + name.length, to) * 1024);
        return;
      }
    }
  } else if (text[from] === 0x56 /* V */) {
    mapping.flags = flagSets.get(text.subarray(from, to));
  }
}

/** Whether `prefix` stands at a place of the text. */
function startsWith(text: Uint8Array, at: number, prefix: Uint8Array): boolean {
  for (let i = 0; i < prefix.length; i++) {
    if (text[at + i] !== prefix[i]) return false;
  }
  return true;
}

function malformed(line: string, file = "maps"): SyntaxError {
  return new SyntaxError(`not a line of ${file}: ${line.slice(0, 80)}`);
}

/** No size in kB is larger. */
const LARGEST = 2 ** 53 / 1024;

/** The number behind spaces. */
function parseNumber(text: Uint8Array, from: number, to: number): number {
  let at = from;
  while (at < to && text[at] === SPACE) at++;
  let number = 0;
  for (; at < to && text[at] !== SPACE; at++) {
    const digit = text[at] - 0x30;
    number = number * 10 + digit;
    if (digit < 0 || digit > 9 || number > LARGEST) {
      throw malformed(decoder.decode(text.subarray(from, to)), "smaps");
    }
  }
  return number;
}

/** Sets of flags. Few are different, so each is made once. */
class FlagSets {
  #byLine = new Map<string, ReadonlySet<string>>();

  /** @param line `VmFlags: rd wr mr mw me ac sd`. */
  get(line: Uint8Array): ReadonlySet<string> {
    const text = decoder.decode(line);
    let flags = this.#byLine.get(text);
    if (!flags) {
      flags = new Set(text.trimEnd().split(" ").slice(1));
      this.#byLine.set(text, flags);
    }
    return flags;
  }
}
