/**
 * Globs: patterns in the syntax of `fnmatch(3)` without flags.
 *
 * Texts come from other users, who choose the paths of their programs and the
 * names of their processes. So a match never takes longer than the length of the
 * text times the length of the pattern: of what a star may stand for, only the
 * shortest that works is kept, since a later star can always take more. A regular
 * expression would try every combination, and every glob library for JavaScript
 * makes one.
 *
 * @module
 */

/** Tells whether a text matches a glob. */
export type Glob = (text: string) => boolean;

/** A glob that cannot be one; the message says why. */
export class MalformedGlob extends Error {
  override name = "MalformedGlob";
}

/** Stands for any characters, also none. */
const STAR = Symbol("*");

/** What one character of a text has to be, by its code point. */
type Place = (point: number) => boolean;

const ANY: Place = () => true;

/**
 * Understands a glob. `*` stands for any characters, slashes, leading dots and
 * newlines too, `?` for any one, `[a-z]` for one of some, `[!a-z]` or `[^a-z]` for
 * one of all others, `[[:digit:]]` for one of a class of ASCII characters; after a
 * backslash, a character stands for itself.
 *
 * @throws MalformedGlob when a bracket has no partner, a range or a class is none,
 * or nothing follows a backslash.
 */
export function parseGlob(pattern: string): Glob {
  const parser = new Parser(pattern);
  const parts: (Place | typeof STAR)[] = [];
  while (!parser.isAtEnd) {
    const part = parser.part();
    // Two stars are one.
    if (part !== STAR || parts.at(-1) !== STAR) parts.push(part);
  }
  return (text) => matches(parts, text);
}

function matches(
  parts: readonly (Place | typeof STAR)[],
  text: string,
): boolean {
  let part = 0;
  let at = 0;
  // Behind the last star, and where the text goes on behind what it stands for.
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
      // The star takes one character more.
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

/** The code point at a place that lies in the text. */
function pointAt(text: string, at: number): number {
  return text.codePointAt(at) ?? 0;
}

/** How many places of a string a code point takes. */
function widthOf(point: number): number {
  return point > 0xffff ? 2 : 1;
}

/** The character classes of POSIX, as the C locale has them. */
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
  part(): Place | typeof STAR {
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

  /** What stands behind a backslash. */
  #quoted(): number {
    if (this.isAtEnd) throw new MalformedGlob("nothing follows the backslash");
    return pointAt(this.#next(), 0);
  }

  /** What stands behind an opening bracket, up to its partner. */
  #set(): Place {
    const isNegated = this.#peek() === "!" || this.#peek() === "^";
    if (isNegated) this.#at++;
    const members: Place[] = [];
    // A closing bracket that stands first is a member.
    do members.push(this.#member()); while (this.#peek() !== "]");
    this.#at++;
    return (point) => members.some((is) => is(point)) !== isNegated;
  }

  /** A class, a range or a character within brackets. */
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
        `"[${this.#peek()}" within brackets begins no character; write "\\["`,
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
        `"[:${name}" begins no class of characters; there are ${
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
