/**
 * What a page of the documentation has: blocks of code, command lines, links, headings.
 *
 * @module
 */

/** A fenced block of code. */
export interface Block {
  /** The word after the fence: `sh`, `toml`, or none. */
  readonly language: string;
  readonly text: string;
  /** The line of its first line in the page, from 1. */
  readonly line: number;
  /** Why it is not run, of `<!-- not run: REASON -->` before it. */
  readonly notRun?: string;
}

/** Returns the fenced blocks of a page. Those in lists lose their indentation. */
export function blocksOf(page: string): Block[] {
  const fences =
    /(?:<!-- not run: (?<notRun>[^\n]+?) -->\n\s*)?^(?<indent> *)```(?<language>\w*)\n(?<text>.*?)^ *```$/gms;
  return [...page.matchAll(fences)].map(({ 0: all, index, groups }) => {
    const { notRun, indent = "", language = "", text = "" } = groups ?? {};
    const before = page.slice(0, index + all.indexOf("```"));
    return {
      language,
      text: text.split("\n")
        .map((line) =>
          line.startsWith(indent) ? line.slice(indent.length) : line
        )
        .join("\n"),
      line: before.split("\n").length + 1,
      ...(notRun === undefined ? {} : { notRun }),
    };
  });
}

/**
 * Splits a text of the shell into commands, each a list of words: quotes, comments,
 * here documents, redirections and the operators between commands are understood,
 * nothing is expanded.
 */
export function shellCommands(text: string): string[][] {
  const commands: string[][] = [];
  let words: string[] = [];
  let redirects = false;
  const end = () => {
    if (words.length > 0) commands.push(words);
    words = [];
  };
  const withoutDocuments = text
    .replace(/(<<-?'?(\w+)'?[^\n]*)\n.*?^\2$/gms, "$1")
    .replace(/\\\n/g, " ");
  const token =
    /(?<space>[ \t]+)|(?<comment>#[^\n]*)|(?<end>\n|&&|\|\|?|;|&)|(?<redirect>\d?(?:>>?|<<?-?))|(?<word>(?:\$\([^)]*\)|'[^']*'|"[^"]*"|\\.|[^\s'"\\;|&<>])+)/gy;
  for (const { 0: all, groups } of withoutDocuments.matchAll(token)) {
    if (groups?.end !== undefined) end();
    else if (groups?.redirect !== undefined) redirects = true;
    else if (groups?.word !== undefined) {
      if (!redirects) words.push(unquoted(all));
      redirects = false;
    }
  }
  end();
  return commands;
}

function unquoted(word: string): string {
  return word.replace(/'([^']*)'|"([^"]*)"|\\(.)/g, "$1$2$3");
}

/** Returns the targets of a page's links, outside of its blocks. */
export function linksOf(page: string): string[] {
  return [...withoutBlocks(page).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = ""]) => target);
}

/** Returns the anchors of a page's headings, as GitHub makes them. */
export function anchorsOf(page: string): Set<string> {
  return new Set(
    [...withoutBlocks(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
      heading.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-")
    ),
  );
}

function withoutBlocks(page: string): string {
  return page.replace(/^ *```\w*\n.*?^ *```$/gms, "");
}
