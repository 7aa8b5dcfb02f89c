/**
 * Sections of the documentation as mdoc(7).
 *
 * @module
 */

import { lexer, type Token, type Tokens } from "marked";
import {
  argument,
  bold,
  escaped,
  filled,
  italic,
  literal,
  paragraph,
  tagged,
} from "./mdoc.ts";

/** A section of a Markdown document: the tokens below a heading. */
export type Section = readonly Token[];

/**
 * Returns the section with a heading, wherever in the documentation it is.
 *
 * @param folder the folder of the documentation.
 * @throws Error unless exactly one file has that heading.
 */
export function sectionOf(folder: string, heading: string): Section {
  const found = documentsIn(folder).flatMap((path) => {
    const tokens = lexer(Deno.readTextFileSync(path));
    const at = tokens.findIndex((token) =>
      token.type === "heading" && token.text === heading
    );
    if (at < 0) return [];
    const depth = depthOf(tokens[at]);
    const after = tokens.slice(at + 1);
    const end = after.findIndex((token) =>
      token.type === "heading" && depthOf(token) <= depth
    );
    return [end < 0 ? after : after.slice(0, end)];
  });
  if (found.length === 1) return found[0];
  throw new Error(
    `${found.length} documents in ${folder} have a section "${heading}", not one`,
  );
}

function documentsIn(folder: string): string[] {
  return Array.from(Deno.readDirSync(folder)).flatMap(({ name, isDirectory }) =>
    isDirectory
      ? documentsIn(`${folder}/${name}`)
      : name.endsWith(".md")
      ? [`${folder}/${name}`]
      : []
  ).sort();
}

function depthOf(token: Token): number {
  return token.type === "heading" ? token.depth : Infinity;
}

/** Renders tokens as lines of mdoc. */
export function mdocOf(tokens: Section): string[] {
  return tokens.flatMap((token) => {
    switch (token.type) {
      case "heading":
        return [`.Ss ${argument(inline(token.tokens ?? []))}`];
      case "paragraph":
        return paragraph(inline(token.tokens ?? []));
      case "text":
        return filled(inline(token.tokens ?? [token]));
      case "code":
        return literal(token.text.split("\n"));
      case "list":
        return list(token as Tokens.List);
      case "table":
        return table(token as Tokens.Table);
      case "space":
      case "html":
        return [];
      default:
        throw new Error(`Markdown of type ${token.type} has no form in mdoc`);
    }
  });
}

function list({ ordered, items }: Tokens.List): string[] {
  return [
    `.Bl ${ordered ? "-enum" : "-bullet"}`,
    ...items.flatMap(({ tokens }) => [".It", ...mdocOf(tokens)]),
    ".El",
  ];
}

/** A table as terms, its first column, and what the others say of them. */
function table({ header, rows }: Tokens.Table): string[] {
  return tagged(rows.map(([term, ...cells]) => {
    const [last, ...others] = cells.map(({ tokens }) => inline(tokens))
      .toReversed();
    const named = others.toReversed().map((text, at) =>
      `(${inline(header[at + 1].tokens)}: ${text})`
    );
    return [inline(term.tokens), filled([last, ...named].join(" "))];
  }));
}

/** Text within a paragraph, escaped. */
function inline(tokens: readonly Token[]): string {
  return tokens.map((token): string => {
    switch (token.type) {
      case "codespan":
        return bold(token.text);
      case "strong":
        return `\\fB${inline(token.tokens ?? [])}\\fP`;
      case "em":
        return `\\fI${inline(token.tokens ?? [])}\\fP`;
      case "link":
        return /^https?:/.test(token.href) && token.href !== token.text
          ? `${inline(token.tokens ?? [])} (${italic(token.href)})`
          : inline(token.tokens ?? []);
      case "escape":
        return escaped(token.text);
      case "br":
        return " ";
      case "text":
        return token.tokens ? inline(token.tokens) : escaped(token.text);
      default:
        throw new Error(`Markdown of type ${token.type} has no form in mdoc`);
    }
  }).join("");
}
