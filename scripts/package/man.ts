/**
 * The man pages: rcap(1), one for every command, made from the text of `--help`, and
 * rcap.toml(5), made from the documentation. `deno task man FOLDER` writes them.
 *
 * @module
 */

import denoJson from "../../deno.json" with { type: "json" };
import { EXIT_CODES } from "../../lib/errors.ts";
import { say } from "../../tests/support/say.ts";
import { mdocOf, sectionOf } from "./markdown.ts";
import {
  argument,
  bold,
  escaped,
  filled,
  header,
  italic,
  literal,
  page,
  paragraph,
  seeAlso,
  tagged,
} from "./mdoc.ts";
import { sourceDate } from "./source_date.ts";
import { type CommandPage, commandPages, type OptionEntry } from "./tree.ts";

const DOCS = new URL("../../docs", import.meta.url).pathname;

const { version } = denoJson;

/** Returns the text of every page by the name of its file. */
export async function manPages(date: Date): Promise<Map<string, string>> {
  const [program, ...commands] = await commandPages();
  const pages = new Map<string, string[]>();
  pages.set("rcap.1", programPage(program, commands, date));
  for (const command of commands) {
    pages.set(`${pageName(command)}.1`, commandPage(command, date));
  }
  pages.set("rcap.toml.5", configurationPage(date));
  return new Map(Array.from(pages, ([name, lines]) => [name, page(lines)]));
}

function pageName({ name }: CommandPage): string {
  return `rcap-${name}`;
}

function programPage(
  program: CommandPage,
  commands: readonly CommandPage[],
  date: Date,
): string[] {
  return [
    ...header({ title: "rcap", section: 1, date, version }),
    ".Sh NAME",
    ".Nm rcap",
    ".Nd keep the resident memory of groups of processes under a cap",
    ".Sh SYNOPSIS",
    ".Nm",
    ".Op Ar option ...",
    ".Ar command",
    ".Op Ar argument ...",
    ".Sh DESCRIPTION",
    ...filled(escaped(program.description)),
    ...paragraph("The commands, each with a page of its own:"),
    ...tagged(
      commands.map((command) => [
        bold(command.name),
        [...filled(escaped(command.summary)), `.Pq Xr ${pageName(command)} 1`],
      ]),
    ),
    ...paragraph("The options, before or after the command:"),
    ...optionList(program.options),
    ".Sh ENVIRONMENT",
    ...tagged([
      ["NO_COLOR", filled("If set and not empty, no colours are printed.")],
    ]),
    ".Sh FILES",
    ...tagged([
      ["/etc/rcap.toml", ["The configuration:", ".Xr rcap.toml 5 ."]],
      ["/etc/rcap.d/*.toml", filled("Its drop\\-ins.")],
      ["/run/rcap", filled("What a running daemon reports of itself.")],
    ]),
    ".Sh EXIT STATUS",
    ...tagged(
      Object.values(EXIT_CODES).map(({ code, meaning }) => [
        String(code),
        filled(escaped(meaning)),
      ]),
    ),
    ...seeAlso([
      ...commands.map((command) => [pageName(command), 1] as const),
      ["rcap.toml", 5],
    ]),
  ];
}

function commandPage(command: CommandPage, date: Date): string[] {
  const { description, status, examples } = dividedHelp(command.after);
  return [
    ...header({ title: pageName(command), section: 1, date, version }),
    ".Sh NAME",
    `.Nm ${pageName(command)}`,
    `.Nd ${escaped(command.summary)}`,
    ".Sh SYNOPSIS",
    ".Nm rcap",
    `.Cm ${command.name}`,
    ".Op Ar option ...",
    ...command.arguments.map(({ name, required, variadic }) =>
      `${required ? ".Ar" : ".Op Ar"} ${name}${variadic ? " ..." : ""}`
    ),
    ".Sh DESCRIPTION",
    ...filled(escaped(command.description)),
    ...command.arguments.length === 0 ? [] : [
      ...paragraph("The arguments:"),
      ...tagged(command.arguments.map(({ name, description }) => [
        italic(name),
        filled(escaped(description)),
      ])),
    ],
    ...paragraph("The options:"),
    ...optionList(command.options),
    ...description,
    ...status.length === 0 ? [] : [".Sh EXIT STATUS", ...status],
    ...examples.length === 0 ? [] : [".Sh EXAMPLES", ...literal(examples)],
    ...seeAlso([["rcap", 1], ["rcap.toml", 5]]),
  ];
}

function optionList(options: readonly OptionEntry[]): string[] {
  return tagged(options.map(({ flags, description }) => [
    flags.replaceAll(
      /[^ ,]+/g,
      (word) => word.startsWith("-") ? bold(word) : italic(word),
    ),
    filled(escaped(description)),
  ]));
}

/** What help says below the options, by sections of a man page. */
function dividedHelp(text: string): {
  description: string[];
  status: string[];
  examples: string[];
} {
  const description: string[] = [];
  let status: string[] = [];
  let examples: string[] = [];
  for (const block of text === "" ? [] : text.split(/\n\n+/)) {
    const [first, ...rest] = block.split("\n");
    if (first === "Exit status:") status = exitStatus(rest);
    else if (first === "Examples:") examples = dedented(rest);
    else description.push(...helpBlock([first, ...rest]));
  }
  return { description, status, examples };
}

/** A block of help: indented lines are as they are, others are a paragraph. */
function helpBlock(lines: readonly string[]): string[] {
  const parts: { isLiteral: boolean; lines: string[] }[] = [];
  for (const line of lines) {
    const isLiteral = line.startsWith(" ");
    const last = parts.at(-1);
    if (last?.isLiteral === isLiteral) last.lines.push(line);
    else parts.push({ isLiteral, lines: [line] });
  }
  return parts.flatMap(({ isLiteral, lines }) =>
    isLiteral ? literal(dedented(lines)) : paragraph(escaped(lines.join(" ")))
  );
}

function dedented(lines: readonly string[]): string[] {
  return lines.map((line) => line.replace(/^ {2}/, ""));
}

/** The lines of `exitStatusHelp`: a code and its meaning, which may go on. */
function exitStatus(lines: readonly string[]): string[] {
  const items: [code: string, meaning: string][] = [];
  for (const line of lines) {
    const [, code = "", text = ""] = /^ {2}(\d*) +(.*)$/.exec(line) ?? [];
    const last = items.at(-1);
    if (code !== "") items.push([code, text]);
    else if (last) last[1] += ` ${text}`;
  }
  return tagged(items.map(([code, text]) => [code, filled(escaped(text))]));
}

function configurationPage(date: Date): string[] {
  const example = Deno.readTextFileSync(`${DOCS}/rcap.toml.example`);
  const selectors = mdocOf(sectionOf(DOCS, "Selectors"));
  return [
    ...header({ title: "rcap.toml", section: 5, date, version }),
    ".Sh NAME",
    ".Nm rcap.toml",
    ".Nd configuration of the rcap daemon",
    ".Sh DESCRIPTION",
    ...mdocOf(sectionOf(DOCS, "Configuration")),
    `.Ss ${argument("Selectors")}`,
    ...selectors,
    ".Sh FILES",
    ...tagged([
      ["/etc/rcap.toml", filled("The configuration.")],
      ["/etc/rcap.d/*.toml", filled("Its drop\\-ins.")],
    ]),
    ".Sh EXAMPLES",
    ...literal(example.trimEnd().split("\n")),
    ...seeAlso([["rcap", 1], ["rcap-check", 1], ["rcap-run", 1]]),
  ];
}

/** Writes all pages into a folder. */
export async function writeManPages(folder: string, date: Date): Promise<void> {
  Deno.mkdirSync(folder, { recursive: true });
  for (const [name, text] of await manPages(date)) {
    Deno.writeTextFileSync(`${folder}/${name}`, text);
  }
}

if (import.meta.main) {
  const folder = Deno.args[0] ?? "dist/man";
  await writeManPages(folder, sourceDate());
  say(`wrote the man pages to ${folder}`);
}
