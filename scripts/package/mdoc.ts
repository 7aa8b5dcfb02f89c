/**
 * Writes mdoc(7), the language of man pages.
 *
 * @module
 */

/** The longest line of text, as mdoc(7) advises. */
const WIDTH = 78;

/** Escapes text for mdoc: backslashes, and what is not ASCII. */
export function escaped(text: string): string {
  return text.replaceAll("\\", "\\e")
    .replaceAll(/[^\x20-\x7e\n]/gu, (character) => {
      const code = character.codePointAt(0) ?? 0;
      return `\\[u${code.toString(16).toUpperCase().padStart(4, "0")}]`;
    });
}

/** Text that is typed: its hyphens can be copied. */
export function typed(text: string): string {
  return escaped(text).replaceAll("-", "\\-").replaceAll("^", "\\(ha")
    .replaceAll("~", "\\(ti").replaceAll("`", "\\(ga")
    .replaceAll("'", "\\(aq");
}

/** Typed text in bold. */
export function bold(text: string): string {
  return `\\fB${typed(text)}\\fP`;
}

/** Text in italics. */
export function italic(text: string): string {
  return `\\fI${escaped(text)}\\fP`;
}

/** Breaks text that is already escaped into lines that are no requests. */
export function filled(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/).filter((word) => word !== "")) {
    const last = lines.at(-1);
    const longer = `${last} ${word}`;
    // Every sentence begins on a line of its own: the page is then spaced right.
    const isOpen = last !== undefined &&
      !/(?<!\\f[BI])[.!?]\W*(\\fP)?\W*$/.test(last);
    if (isOpen && longer.length <= WIDTH) {
      lines[lines.length - 1] = longer;
    } else {
      lines.push(word);
    }
  }
  return lines.map(guarded);
}

/** A paragraph of text that is already escaped. */
export function paragraph(text: string): string[] {
  return [".Pp", ...filled(text)];
}

/** Lines as they are. */
export function literal(lines: readonly string[]): string[] {
  return [
    ".Bd -literal -offset indent",
    ...lines.map((line) => guarded(typed(line))),
    ".Ed",
  ];
}

/** A list of terms, already escaped, and what they mean. */
export function tagged(
  items: readonly (readonly [term: string, meaning: readonly string[]])[],
): string[] {
  return [
    ".Bl -tag -width Ds",
    ...items.flatMap((
      [term, meaning],
    ) => [`.It ${argument(term)}`, ...meaning]),
    ".El",
  ];
}

/** One argument of a macro, of text that is already escaped. */
export function argument(text: string): string {
  // Without the \& a word could be the name of a macro.
  return `"\\&${text.replaceAll('"', "\\(dq")}"`;
}

/** A page from its lines: mdoc wants no paragraph at the start of a section. */
export function page(lines: readonly string[]): string {
  const needed = lines.filter((line, at) =>
    line !== ".Pp" || !/^\.S[hs] /.test(lines[at - 1] ?? "")
  );
  return `${needed.join("\n")}\n`;
}

/** A line of text that must not be taken for a request. */
function guarded(line: string): string {
  return /^[.']/.test(line) ? `\\&${line}` : line;
}

/** The first lines of a page. */
export function header(
  { title, section, date, version }: {
    title: string;
    section: number;
    date: Date;
    version: string;
  },
): string[] {
  const day = new Intl.DateTimeFormat("en-US", {
    dateStyle: "long",
    timeZone: "UTC",
  }).format(date);
  return [
    `.Dd ${day}`,
    `.Dt ${title.toUpperCase()} ${section}`,
    `.Os "rcap ${version}"`,
  ];
}

/** The section of references: names with the number of their section. */
export function seeAlso(
  pages: readonly (readonly [name: string, section: number])[],
): string[] {
  const sorted = pages.toSorted(([a, inA], [b, inB]) =>
    inA - inB || (a < b ? -1 : 1)
  );
  return [
    ".Sh SEE ALSO",
    ...sorted.map(([name, section], at) =>
      `.Xr ${name} ${section}${at === sorted.length - 1 ? "" : " ,"}`
    ),
  ];
}
