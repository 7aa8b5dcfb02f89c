/**
 * The pages of the documentation.
 *
 * @module
 */

import { type Block, blocksOf, shellCommands } from "./markdown.ts";

export const ROOT = new URL("../../", import.meta.url).pathname;

/** All pages, by their paths in the repository. */
export const PAGES: readonly string[] = [
  "CONTRIBUTING.md",
  "README.md",
  "SECURITY.md",
  ...pagesIn("docs"),
  ...pagesIn("docs/commands"),
];

function pagesIn(folder: string): string[] {
  return [...Deno.readDirSync(`${ROOT}${folder}`)]
    .map(({ name }) => `${folder}/${name}`)
    .filter((name) => name.endsWith(".md")).sort();
}

export function readPage(page: string): string {
  return Deno.readTextFileSync(`${ROOT}${page}`);
}

/** The blocks of a page that have commands, with these. */
export function commandBlocks(
  page: string,
): { block: Block; commands: string[][] }[] {
  return blocksOf(readPage(page))
    .map((block) => ({ block, commands: commandsOf(block) }))
    .filter(({ commands }) => commands.length > 0);
}

/** The commands of a block: all of a script, and what is typed at a prompt. */
export function commandsOf({ language, text }: Block): string[][] {
  if (language === "sh") return shellCommands(text);
  const typed = [...text.matchAll(/^[$#] (rcap .*)$/gm)];
  return typed.flatMap(([, command = ""]) => shellCommands(command));
}
