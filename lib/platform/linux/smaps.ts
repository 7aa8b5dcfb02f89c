/**
 * Parses `/proc/<pid>/smaps` and `/proc/<pid>/maps`: proc_pid_smaps(5),
 * proc_pid_maps(5), Documentation/filesystems/proc.rst.
 *
 * The parser works on bytes. It reads a mapping's header line and, from the lines
 * below it, the fields that rcap needs, which it recognizes by their first letters.
 *
 * @module
 */

import { JoinedMappings } from "./joined_mappings.ts";
import type { LinuxMapping } from "./linux_mapping.ts";
import { Names, type NamesKept, startsWith } from "./mapping_names.ts";

const NEWLINE = 0x0a;
const SPACE = 0x20;

const NO_FLAGS: ReadonlySet<string> = new Set();
const decoder = new TextDecoder();

/** Fields in kB, with the bytes of their names. */
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
  "Pss:": (m: LinuxMapping, bytes: number) => m.proportional = bytes,
  "Shared_Dirty:": (m: LinuxMapping, bytes: number) => m.dirty += bytes,
  "Private_Clean:": (m: LinuxMapping, bytes: number) => m.own += bytes,
  "Private_Dirty:": (m: LinuxMapping, bytes: number) => {
    m.own += bytes;
    m.dirty += bytes;
  },
}).map(([name, add]) => ({ name: new TextEncoder().encode(name), add }));

/** The fields by their first byte. */
const FIELDS_BY_LETTER: readonly (typeof FIELDS | undefined)[] = Array.from(
  { length: 256 },
  (_, letter) => {
    const fields = FIELDS.filter(({ name }) => name[0] === letter);
    return fields.length > 0 ? fields : undefined;
  },
);

/** Limits what is kept of a text. */
export interface SmapsOptions {
  /** The most mappings that are kept; beyond that, neighbours are joined. */
  readonly most?: number;
  /** How much of names is kept. */
  readonly names?: NamesKept;
}

/**
 * The most bytes of an unfinished line that are kept: enough for a header with the
 * longest name that is kept.
 */
const LONGEST_LINE = 8192;

/**
 * Parses the text of smaps, or of maps, as it is read.
 *
 * The kernel writes the text in pieces, and mappings may change between two of
 * them. A mapping that overlaps the one before it is left out, so the result is
 * always in address order.
 */
export class SmapsParser {
  readonly #joined: JoinedMappings;
  readonly #headers: Headers;
  readonly #flagSets = new FlagSets();
  #current: LinuxMapping | undefined;
  /** The page after the last mapping. */
  #end = 0;
  /** The beginning of an unfinished line. */
  #rest = new Uint8Array(0);

  constructor({ most = Infinity, names = "all" }: SmapsOptions = {}) {
    this.#joined = new JoinedMappings(most);
    this.#headers = new Headers(new Names(names));
  }

  /** The mappings, with the counts of joined and omitted ones. */
  get joined(): JoinedMappings {
    return this.#joined;
  }

  /**
   * Takes a part of the text, which may begin and end anywhere.
   *
   * @throws SyntaxError if a line is not one of smaps or maps.
   */
  push(text: Uint8Array<ArrayBuffer>): void {
    let at = 0;
    if (this.#rest.length > 0) {
      const newline = text.indexOf(NEWLINE);
      this.#rest = joined(
        this.#rest,
        newline < 0 ? text : text.subarray(0, newline),
      );
      if (newline < 0) return;
      const line = this.#rest;
      this.#rest = new Uint8Array(0);
      this.#parseLine(line, 0, line.length);
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

  /** Ends the text and returns all mappings. */
  end(): LinuxMapping[] {
    if (this.#rest.length > 0) {
      this.#parseLine(this.#rest, 0, this.#rest.length);
    }
    if (this.#current) this.#joined.add(this.#current);
    return this.#joined.mappings;
  }

  #parseLine(text: Uint8Array, at: number, lineEnd: number): void {
    const first = text[at];
    // Header lines begin with a hexadecimal digit in lower case, others with a
    // capital letter.
    if (HEX[first] !== NONE) {
      if (this.#current) this.#joined.add(this.#current);
      this.#current = undefined;
      const headers = this.#headers;
      const mapping = headers.parse(text, at, lineEnd);
      if (headers.startPage < this.#end) return;
      this.#current = mapping;
      this.#end = headers.endPage;
    } else if (this.#current) {
      parseField(text, at, lineEnd, this.#current, this.#flagSets);
    }
  }
}

/** Concatenates two parts of a line, up to the kept length. */
function joined(
  first: Uint8Array<ArrayBuffer>,
  second: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  const room = Math.max(0, LONGEST_LINE - first.length);
  if (room === 0) return first;
  const both = new Uint8Array(first.length + Math.min(room, second.length));
  both.set(first);
  both.set(second.subarray(0, room), first.length);
  return both;
}

/** Not a digit. */
const NONE = 0xff;

/** The value of every hexadecimal digit in lower case, by its character. */
const HEX = Uint8Array.from({ length: 256 }, (_, character) => {
  const digit = "0123456789abcdef".indexOf(String.fromCharCode(character));
  return digit < 0 ? NONE : digit;
});

const HYPHEN = 0x2d;
/** Permissions are four letters. */
const PERM_LETTERS = 4;
/** Addresses are multiples of 16^3, the smallest page size. */
const PAGE_DIGITS = 3;
/** Addresses have no more digits than this. */
const MOST_DIGITS = 16;
const PAGE_BYTES = 4096;

/**
 * Parses header lines: `start-end perm offset device inode name`. There are few
 * distinct permissions and devices, so each string is made once.
 */
class Headers {
  readonly #names: Names;
  readonly #perms = new Map<number, string>();
  /** The device of the previous line, which most often equals the next. */
  #device = "00:00";
  #deviceBytes: Uint8Array = new TextEncoder().encode(this.#device);
  #at = 0;
  /**
   * Bounds in the header parsed last, as page numbers: unlike an address, exact as
   * a `number`.
   */
  startPage = 0;
  endPage = 0;

  constructor(names: Names) {
    this.#names = names;
  }

  parse(text: Uint8Array, from: number, to: number): LinuxMapping {
    this.#at = from;
    this.startPage = this.#parsePage(text, from, to, HYPHEN);
    this.endPage = this.#parsePage(text, from, to, SPACE);
    if (this.startPage >= this.endPage) throw malformed(text, from, to);
    const perm = this.#parsePerm(text, from, to);
    // The offset.
    this.#parseWord(text, from, to);
    const device = this.#parseDevice(text, from, to);
    // The inode.
    this.#parseWord(text, from, to);
    while (this.#at < to && text[this.#at] === SPACE) this.#at++;
    return {
      // Exact, since multiplying by a power of two loses no digits.
      start: BigInt(this.startPage * PAGE_BYTES),
      end: BigInt(this.endPage * PAGE_BYTES),
      perm,
      device,
      name: this.#names.at(text, this.#at, to),
      pageSize: PAGE_BYTES,
      rss: 0,
      own: 0,
      proportional: 0,
      dirty: 0,
      referenced: 0,
      anonymous: 0,
      swap: 0,
      locked: 0,
      flags: NO_FLAGS,
    };
  }

  /** Parses an address up to a character, and returns its page number. */
  #parsePage(
    text: Uint8Array,
    from: number,
    to: number,
    end: number,
  ): number {
    const first = this.#at;
    let behind = first;
    while (behind < to && HEX[text[behind]] !== NONE) behind++;
    const digits = behind - first;
    if (digits < 1 || digits > MOST_DIGITS || text[behind] !== end) {
      throw malformed(text, from, to);
    }
    let page = 0;
    for (let at = first; at < behind - PAGE_DIGITS; at++) {
      page = page * 16 + HEX[text[at]];
    }
    this.#at = behind + 1;
    return page;
  }

  #parsePerm(text: Uint8Array, from: number, to: number): string {
    const at = this.#at;
    if (at + PERM_LETTERS >= to || text[at + PERM_LETTERS] !== SPACE) {
      throw malformed(text, from, to);
    }
    const key = text[at] << 24 | text[at + 1] << 16 | text[at + 2] << 8 |
      text[at + 3];
    let perm = this.#perms.get(key);
    if (perm === undefined) {
      perm = decoder.decode(text.subarray(at, at + PERM_LETTERS));
      if (!/^[!-~]{4}$/.test(perm)) throw malformed(text, from, to);
      this.#perms.set(key, perm);
    }
    this.#at = at + PERM_LETTERS + 1;
    return perm;
  }

  #parseDevice(text: Uint8Array, from: number, to: number): string {
    const [start, end] = this.#parseWord(text, from, to);
    const bytes = this.#deviceBytes;
    if (bytes.length !== end - start || !startsWith(text, start, bytes)) {
      this.#deviceBytes = text.slice(start, end);
      this.#device = decoder.decode(this.#deviceBytes);
    }
    return this.#device;
  }

  /** Returns the bounds of the next word. */
  #parseWord(
    text: Uint8Array,
    from: number,
    to: number,
  ): [start: number, end: number] {
    const start = this.#at;
    let end = start;
    while (end < to && text[end] !== SPACE) end++;
    if (end === start) throw malformed(text, from, to);
    this.#at = Math.min(end + 1, to);
    return [start, end];
  }
}

function malformed(
  text: Uint8Array,
  from: number,
  to: number,
  file = "maps",
): SyntaxError {
  const line = decoder.decode(text.subarray(from, Math.min(to, from + 80)));
  return new SyntaxError(`not a line of ${file}: ${line}`);
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

/** The largest valid size in kB. */
const LARGEST = 2 ** 53 / 1024;

/** Parses a number after spaces. */
function parseNumber(text: Uint8Array, from: number, to: number): number {
  let at = from;
  while (at < to && text[at] === SPACE) at++;
  let number = 0;
  for (; at < to && text[at] !== SPACE; at++) {
    const digit = text[at] - 0x30;
    number = number * 10 + digit;
    if (digit < 0 || digit > 9 || number > LARGEST) {
      throw malformed(text, from, to, "smaps");
    }
  }
  return number;
}

/** Sets of flags. There are few distinct ones, so each is made once. */
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
