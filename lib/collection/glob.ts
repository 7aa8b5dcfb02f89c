/**
 * Globs: patterns in the syntax of `fnmatch(3)` without flags.
 *
 * Texts come from other users, who choose the paths of their programs and the names
 * of their processes. So the time of a match is limited by the length of the text
 * times the length of the pattern: each star keeps only the shortest match that
 * works, because a later star can always match more. A regular expression would try
 * every combination, and every glob library for JavaScript compiles to one.
 *
 * @module
 */

/** Whether a text matches a glob. */
export type Glob = (text: string) => boolean;

/** A glob is not valid; the message says why. */
export class MalformedGlob extends Error {
  override name = "MalformedGlob";
}

/** Matches any number of characters, including none. */
const STAR = Symbol("*");

/** Whether one character of a text, given by its code point, matches. */
type Place = (point: number) => boolean;

const ANY: Place = () => true;

/** What a glob consists of. */
type Part = Place | typeof STAR;

/**
 * Parses a glob. `*` matches any characters, including slashes, leading dots and
 * newlines; `?` matches any one character, `[a-z]` one of a set, `[!a-z]` or
 * `[^a-z]` one outside a set, `[[:digit:]]` one of a class of ASCII characters. A
 * backslash quotes the next character.
 *
 * @throws MalformedGlob if a bracket has no partner, a range or class is not valid,
 * or nothing follows a backslash.
 */
export function parseGlob(pattern: string): Glob {
  const parts = partsOf(pattern);
  return (text) => matches(parts, text);
}

/** Which texts a glob can match at all. */
export interface GlobShape {
  /** The length of the shortest of them, in bytes of UTF-8. */
  readonly leastBytes: number;
  /** Whether one of them can begin like this. */
  canBegin(text: string): boolean;
  /** Whether one of them can end like this. */
  canEnd(text: string): boolean;
}

/**
 * Returns which texts a glob can match.
 *
 * @throws MalformedGlob as {@linkcode parseGlob}.
 */
export function shapeOf(pattern: string): GlobShape {
  const parts = partsOf(pattern);
  return {
    leastBytes: parts.reduce((sum, part) => sum + leastBytesOf(part), 0),
    canBegin: (text) => agree(parts, [...text]),
    canEnd: (text) => agree(parts.toReversed(), [...text].reverse()),
  };
}

/** Whether parts up to the first star, in either direction, match characters. */
function agree(parts: readonly Part[], characters: readonly string[]): boolean {
  for (const [index, character] of characters.entries()) {
    const part = parts[index];
    if (part === STAR) return true;
    if (!part?.(pointAt(character, 0))) return false;
  }
  return true;
}

/** Takes the place of bytes that are not UTF-8, of which each may be one. */
const REPLACEMENT = 0xfffd;

/** The first code points that take this many bytes in UTF-8, one byte less as index. */
const UTF8_STARTS = [0, 0x80, 0x800, 0x10000];

/** The number of bytes of the shortest match of a part. */
function leastBytesOf(part: Part): number {
  if (part === STAR) return 0;
  if (part(REPLACEMENT)) return 1;
  for (let bytes = 1; bytes < 4; bytes++) {
    for (let at = UTF8_STARTS[bytes - 1]; at < UTF8_STARTS[bytes]; at++) {
      if (part(at)) return bytes;
    }
  }
  return 4;
}

function partsOf(pattern: string): Part[] {
  const parser = new Parser(pattern);
  const parts: Part[] = [];
  while (!parser.isAtEnd) {
    const part = parser.part();
    // Consecutive stars count as one.
    if (part !== STAR || parts.at(-1) !== STAR) parts.push(part);
  }
  return parts;
}

function matches(parts: readonly Part[], text: string): boolean {
  let part = 0;
  let at = 0;
  // The part after the last star, and the place in the text after the star's match.
  let partBehindStar = -1;
  let atBehindStar = 0;
  while (at < text.length) {
    const place = parts[part];
    if (place === STAR) {
      partBehindStar = ++part;
      atBehindStar = at;
      if (part === parts.length) return true;
      continue;
    }
    const point = pointAt(text, at);
    if (place?.(point)) {
      part++;
      at += widthOf(point);
    } else if (partBehindStar >= 0) {
      // The star matches one more character.
      atBehindStar += widthOf(pointAt(text, atBehindStar));
      part = partBehindStar;
      at = atBehindStar;
    } else {
      return false;
    }
  }
  return part === parts.length ||
    part === parts.length - 1 && parts[part] === STAR;
}

/** The code point at an index within the text. */
function pointAt(text: string, at: number): number {
  return text.codePointAt(at) ?? 0;
}

/** How many UTF-16 units a code point takes. */
function widthOf(point: number): number {
  return point > 0xffff ? 2 : 1;
}

/** The character classes of POSIX in the C locale. */
const CLASSES: Readonly<Record<string, RegExp>> = {
  alnum: /[A-Za-z0-9]/,
  alpha: /[A-Za-z]/,
  blank: /[ \t]/,
  // deno-lint-ignore no-control-regex -- these are the control characters
  cntrl: /[\x00-\x1f\x7f]/,
  digit: /[0-9]/,
  graph: /[\x21-\x7e]/,
  lower: /[a-z]/,
  print: /[\x20-\x7e]/,
  punct: /[!-/:-@[-`{-~]/,
  space: /[ \t\n\v\f\r]/,
  upper: /[A-Z]/,
  xdigit: /[A-Fa-f0-9]/,
};

class Parser {
  readonly #characters: readonly string[];
  #at = 0;

  constructor(pattern: string) {
    this.#characters = [...pattern];
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#characters.length;
  }

  /** The next part of the pattern. */
  part(): Part {
    const character = this.#next();
    switch (character) {
      case "*":
        return STAR;
      case "?":
        return ANY;
      case "[":
        return this.#set();
      case "]":
        throw new MalformedGlob('nothing opens the bracket "]"');
      case "\\":
        return exactly(this.#quoted());
      default:
        return exactly(pointAt(character, 0));
    }
  }

  #next(): string {
    return this.#characters[this.#at++];
  }

  #peek(ahead = 0): string | undefined {
    return this.#characters[this.#at + ahead];
  }

  /** Reads the character after a backslash. */
  #quoted(): number {
    if (this.isAtEnd) throw new MalformedGlob("nothing follows the backslash");
    return pointAt(this.#next(), 0);
  }

  /** Reads what follows an opening bracket, up to its partner. */
  #set(): Place {
    const isNegated = this.#peek() === "!" || this.#peek() === "^";
    if (isNegated) this.#at++;
    const members: Place[] = [];
    // A closing bracket in first place is a member.
    do members.push(this.#member()); while (this.#peek() !== "]");
    this.#at++;
    return (point) => members.some((is) => is(point)) !== isNegated;
  }

  /** Reads a class, a range or a character within brackets. */
  #member(): Place {
    if (this.#peek() === "[" && this.#peek(1) === ":") return this.#class();
    const first = this.#point();
    const isRange = this.#peek() === "-" && this.#peek(1) !== "]" &&
      this.#peek(1) !== undefined;
    if (!isRange) return exactly(first);
    this.#at++;
    const last = this.#point();
    if (last < first) {
      const [from, to] = [first, last].map((one) => String.fromCodePoint(one));
      throw new MalformedGlob(
        `the range "${from}-${to}" is the wrong way round`,
      );
    }
    return (point) => first <= point && point <= last;
  }

  #point(): number {
    if (this.isAtEnd) throw new MalformedGlob('nothing closes the bracket "["');
    const character = this.#next();
    if (character === "\\") return this.#quoted();
    if (character === "[" && /^[.=:]$/.test(this.#peek() ?? "")) {
      throw new MalformedGlob(
        `"[${this.#peek()}" within brackets is not a character; write "\\["`,
      );
    }
    return pointAt(character, 0);
  }

  #class(): Place {
    const start = this.#at + 2;
    let end = start;
    while (/^[a-z]$/.test(this.#characters[end] ?? "")) end++;
    const name = this.#characters.slice(start, end).join("");
    const isClosed = this.#characters[end] === ":" &&
      this.#characters[end + 1] === "]";
    if (!isClosed || !Object.hasOwn(CLASSES, name)) {
      throw new MalformedGlob(
        `"[:${name}" is not the start of a character class; the classes are ${
          Object.keys(CLASSES).map((one) => `[:${one}:]`).join(", ")
        }`,
      );
    }
    this.#at = end + 2;
    const members = CLASSES[name];
    return (point) => point < 0x80 && members.test(String.fromCharCode(point));
  }
}

function exactly(wanted: number): Place {
  return (point) => point === wanted;
}
