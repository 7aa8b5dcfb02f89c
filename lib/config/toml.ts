/**
 * Parses TOML and keeps the line of every value: <https://toml.io/en/v1.1.0>.
 *
 * The values are built from the syntax tree, not by the parser's own
 * `getStaticTOMLValue`, which loses the lines and assigns a key `__proto__` to the
 * prototype of all objects.
 *
 * @module
 */

import { type AST, ParseError, parseTOML } from "toml-eslint-parser";
import { UsageError } from "../errors.ts";
import { hexDigits, replaceUnsafe } from "../report/escape.ts";

/** A path from the top of a file to a value: keys of tables and indexes of lists. */
export type TomlPath = readonly (string | number)[];

type Scalar = string | number | bigint | boolean | Date;

/** The contents of a file as plain values. Integers are `bigint`. */
export type TomlValue = Scalar | TomlValue[] | { [key: string]: TomlValue };

/** A parsed file. */
export interface TomlDocument {
  readonly value: TomlValue;
  readonly root: TomlNode;
}

/** The place of a value in a file. */
export interface TomlNode {
  /** The line of its key, or of the header of a table; from 1. */
  readonly line: number;
  /** The children by key in tables, by index in lists, in the order of the file. */
  readonly children: ReadonlyMap<string | number, TomlNode>;
  /** The value, if it is neither a table nor a list. */
  readonly scalar?: Scalar;
  /** What is between the double quotes of a text with escapes. */
  readonly escaped?: string;
}

/** The text is not TOML, or exceeds what rcap can read. */
export class TomlError extends UsageError {
  override name = "TomlError";
  /** The line, from 1; 0 for the text as a whole. */
  readonly line: number;

  constructor(line: number, problem: string, remedy: string) {
    super(problem, remedy);
    this.line = line;
  }
}

/**
 * Parses TOML.
 *
 * @throws TomlError if the text is not valid TOML.
 */
export function parseToml(text: string): TomlDocument {
  try {
    const root = build(parseTOML(text).body[0], text);
    return { root, value: valueOf(root) };
  } catch (error) {
    if (error instanceof ParseError) throw explain(error, text);
    // The parser recurses for every level of nesting, and passes the letters of a
    // string as the arguments of one call.
    if (error instanceof RangeError) {
      throw new TomlError(
        0,
        "it is nested too deeply, or contains too long a text",
        "a configuration needs only a few levels and short texts",
      );
    }
    throw error;
  }
}

/** Returns the line of the value at a path, or of the innermost table or list around it. */
export function lineOf(root: TomlNode, path: TomlPath): number {
  let node = root;
  for (const key of path) {
    const child = node.children.get(key);
    if (!child) break;
    node = child;
  }
  return node.line;
}

/** A node while its file is parsed. */
interface Node extends TomlNode {
  readonly kind: "table" | "list" | "value";
  readonly children: Map<string | number, Node>;
}

function newNode(line: number, kind: Node["kind"], scalar?: Scalar): Node {
  return { line, kind, children: new Map(), scalar };
}

function valueOf({ kind, scalar, children }: Node): TomlValue {
  if (scalar !== undefined) return scalar;
  if (kind === "list") return [...children.values()].map(valueOf);
  // Unlike an assignment, this makes an own property even of `__proto__`.
  return Object.fromEntries(
    [...children].map(([key, node]) => [key, valueOf(node)]),
  );
}

/** Returns the table at a path, and creates it if necessary. */
function tableAt(from: Node, path: TomlPath, line: number): Node {
  let node = from;
  path.forEach((key, depth) => {
    let child = node.children.get(key);
    if (!child) {
      const isList = typeof path[depth + 1] === "number";
      child = newNode(line, isList ? "list" : "table");
      node.children.set(key, child);
    }
    node = child;
  });
  return node;
}

function build(top: AST.TOMLTopLevelTable, text: string): Node {
  const root = newNode(1, "table");
  for (const node of top.body) {
    if (node.type === "TOMLKeyValue") {
      addKeyValue(root, node, text);
      continue;
    }
    const table = tableAt(root, node.resolvedKey, node.loc.start.line);
    for (const keyValue of node.body) addKeyValue(table, keyValue, text);
  }
  return root;
}

function addKeyValue(
  table: Node,
  { key, value, loc }: AST.TOMLKeyValue,
  text: string,
): void {
  const { line } = loc.start;
  const names = key.keys.map((key) =>
    key.type === "TOMLBare" ? key.name : key.value
  );
  const last = names[names.length - 1];
  tableAt(table, names.slice(0, -1), line).children.set(
    last,
    read(value, line, text),
  );
}

function read(
  content: AST.TOMLContentNode,
  line: number,
  text: string,
): Node {
  switch (content.type) {
    case "TOMLArray": {
      const list = newNode(line, "list");
      content.elements.forEach((element, index) =>
        list.children.set(index, read(element, element.loc.start.line, text))
      );
      return list;
    }
    case "TOMLInlineTable": {
      const table = newNode(line, "table");
      for (const keyValue of content.body) addKeyValue(table, keyValue, text);
      return table;
    }
    case "TOMLValue": {
      const isInteger = content.kind === "integer";
      const scalar = isInteger ? content.bigint : content.value;
      const node = newNode(line, "value", scalar);
      const source = text.slice(...content.range);
      const [, , escaped] = /^("""|")(.*\\.*)\1$/s.exec(source) ?? [];
      return escaped === undefined ? node : { ...node, escaped };
    }
  }
}

/** Quotes a text as a TOML string with everything escaped that a terminal would not show. */
export function quoteToml(text: string): string {
  // Like JSON, except for characters beyond \uffff.
  return replaceUnsafe(
    JSON.stringify(text),
    (codePoint) =>
      codePoint <= 0xffff
        ? `\\u${hexDigits(codePoint, 4)}`
        : `\\U${hexDigits(codePoint, 8)}`,
  );
}

/**
 * Returns the remedy for a text in double quotes whose backslashes TOML takes for
 * escapes.
 *
 * @param escaped what is between the quotes.
 */
export function literalRemedy(escaped: string): string {
  const text = escaped.replace(/\\(["\\])/g, "$1");
  return /['\n\r]/.test(text)
    ? "write every backslash twice"
    : `put the text in single quotes: '${text}'`;
}

/** The most characters of a line that a message repeats. */
const LONGEST_EXCERPT = 60;

/** A key and a value without quotation marks. */
const BARE_TEXT =
  /^([\w.-]+)\s*=\s*(?![+-]?[\d._]+$|true$|false$)([^\s"'[\]{}#,=][^"'[\]{}#,=]*?)\s*(?:#.*)?$/;

/** Texts in double quotes. */
const QUOTED = /"([^"\\]*(?:\\.[^"\\]*)*)"/g;

/** Escapes, and what follows a backslash that begins none. */
const ESCAPES =
  /\\(?:x[\dA-Fa-f]{2}|u[\dA-Fa-f]{4}|U[\dA-Fa-f]{8}|[btnfre"\\]|(?<wrong>.))/g;

/** Whether a backslash between double quotes begins no escape. */
function hasWrongEscape(text: string): boolean {
  return [...text.matchAll(ESCAPES)].some(({ groups }) => groups?.wrong);
}

/** Converts the parser's error to one with the line and a remedy. */
function explain({ message, lineNumber }: ParseError, text: string): TomlError {
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const misses = (at: number) => /^(#.*)?$/.test(lines[at - 1] ?? "");
  let at = lineNumber;
  // For a missing value, the parser reports the place where it gave up.
  if (message.startsWith("The key, equals sign")) at--;
  while (at > 1 && misses(at)) at--;
  const line = lines[at - 1] ?? "";
  const isShort = line.length <= LONGEST_EXCERPT;
  const what = message.charAt(0).toLowerCase() + message.slice(1);
  return new TomlError(
    at,
    `malformed TOML (${what}): ${
      isShort ? line : `${line.slice(0, LONGEST_EXCERPT)}…`
    }`,
    remedyOf(what, isShort ? line : ""),
  );
}

function remedyOf(what: string, line: string): string {
  if (what.startsWith("defining a key multiple times")) {
    return "keep one of them; every cap begins with its own [[cap]]";
  }
  if (what.includes("escape sequence")) {
    const [escaped = "\n"] = [...line.matchAll(QUOTED)].map(([, text]) => text)
      .filter(hasWrongEscape);
    return `a backslash in double quotes begins an escape; ${
      literalRemedy(escaped)
    }`;
  }
  const [, key, value] = BARE_TEXT.exec(line) ?? [];
  if (value === undefined) {
    return "put text in quotation marks and lists in brackets; see https://toml.io";
  }
  const quoted = quoteToml(value);
  return key === "select"
    ? `put text in quotation marks and lists in brackets: ${key} = [${quoted}]`
    : `put text in quotation marks: ${key} = ${quoted}`;
}
