/**
 * The documentation: every command line of rcap in it is one that rcap understands, every
 * configuration is valid, every link leads somewhere.
 *
 * Nothing is run here: commands are parsed with the options, values and selectors of the
 * real command tree. `tests/package/docs_test.ts` runs them in a clean system, and
 * `tests/live/docs_output_test.ts` compares their output.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { COMMANDS } from "../cmd/commands.ts";
import { parseArguments } from "../lib/collection/selectors.ts";
import { Users } from "../lib/collection/users.ts";
import {
  describeProblem,
  parseConfig,
  understandConfig,
} from "../lib/config/config.ts";
import { configPaths } from "../lib/config/config_files.ts";
import { linux } from "../lib/platform/linux/system.ts";
import { jsonSchemas } from "../scripts/package/json_schemas.ts";
import { describedProgram } from "../scripts/package/tree.ts";
import "../ffi/testing.ts";
import { Folder } from "./support/folder.ts";
import { say } from "./support/say.ts";
import {
  anchorsOf,
  blocksOf,
  linksOf,
  shellCommands,
} from "./support/markdown.ts";
import {
  differences,
  keysOf,
  keysOfSchema,
  notationsIn,
  parseNotation,
} from "./support/notation.ts";
import { commandBlocks, PAGES, readPage, ROOT } from "./support/pages.ts";

/** The last keys of objects of which there is no schema. */
const WITHOUT_SCHEMA = ["heat"];

/** Users of examples do not exist here. */
function withRoot(text: string): string {
  return text.replaceAll(/user:[a-z][\w-]*/g, "user:root");
}

/** A parser of command lines: resolves if rcap understands one, and rejects otherwise. */
async function commandLineParser(): Promise<(args: string[]) => Promise<void>> {
  const program = await describedProgram();
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({
      writeOut: () => {},
      writeErr: () => {},
      outputError: () => {},
    });
  }
  let operands: readonly string[] = [];
  for (const command of program.commands) {
    command.action(() => {
      operands = command.registeredArguments.some((argument) =>
          argument.name() === "selector"
        )
        ? command.args
        : [];
    });
  }
  return async (args) => {
    operands = [];
    try {
      await program.parseAsync(args, { from: "user" });
    } catch (error) {
      // Help and version end the program.
      if (
        error instanceof Error && "exitCode" in error && error.exitCode === 0
      ) {
        return;
      }
      throw error;
    }
    if (operands.length > 0) {
      await parseArguments(operands.map(withRoot), linux);
    }
  };
}

Deno.test("every command line of rcap in the documentation is one that it understands", async () => {
  const parse = await commandLineParser();
  const problems: string[] = [];
  let parsed = 0;
  for (const page of PAGES) {
    for (const { block, commands } of commandBlocks(page)) {
      for (const words of commands) {
        if (words[0] !== "rcap") continue;
        parsed++;
        try {
          await parse(words.slice(1));
        } catch (error) {
          problems.push(`${page}:${block.line}: ${words.join(" ")}: ${error}`);
        }
      }
    }
  }
  say(`${parsed} command lines of rcap were parsed`);
  assertEquals(problems, []);
  // If the search for command lines breaks, it finds none.
  assert(parsed > 50, `${parsed}`);
});

Deno.test("a command line that rcap does not understand is found", async () => {
  const parse = await commandLineParser();
  await parse(["size", "unit:nginx", "--observe", "1h"]);
  for (
    const wrong of [
      ["sise", "unit:nginx"],
      ["size", "unit:nginx", "--observed", "1h"],
      ["size", "unit:nginx", "--observe", "an hour"],
      ["size", "units:nginx"],
      ["size", "unit:nginx", "+"],
      ["scan"],
      ["set", "web"],
      ["pause", "web", "too"],
      ["run", "--log-format", "xml"],
    ]
  ) {
    let error: unknown;
    await parse(wrong).catch((reason) => error = reason);
    assert(error instanceof Error, wrong.join(" "));
  }
});

/** Returns the problems of a configuration. */
async function problemsOf(text: string): Promise<string[]> {
  using folder = new Folder();
  const paths = configPaths(folder.file("rcap.toml"));
  Deno.writeTextFileSync(paths.file, withRoot(text));
  const users = new Users(linux);
  const parsed = parseConfig(paths, { system: linux });
  await users.lookUp(parsed.selectors);
  const { problems } = understandConfig(paths, parsed, {
    totalMemory: 8 * 2 ** 30,
    users,
    system: linux,
  });
  return problems.map(describeProblem);
}

Deno.test("every configuration in the documentation is valid", async () => {
  let configurations = 0;
  for (const page of PAGES) {
    for (const { language, text, line } of blocksOf(readPage(page))) {
      if (language !== "toml" || !text.includes("[[cap]]")) continue;
      configurations++;
      assertEquals(await problemsOf(text), [], `${page}:${line}`);
    }
  }
  assert(configurations >= 5, `${configurations}`);
  const problems = await problemsOf('[[cap]]\nname = "a"\nmax_rs = "1G"');
  assert(
    problems.some((problem) => problem.includes("max_rss?")),
    `${problems}`,
  );
});

Deno.test("every link in the documentation leads to a page and its heading", () => {
  const problems: string[] = [];
  for (const page of PAGES) {
    for (const link of linksOf(readPage(page))) {
      if (/^[a-z]+:/.test(link)) continue;
      const [path, anchor] = link.split("#");
      const url = new URL(path || page.replace(/.*\//, ""), `file:///${page}`);
      const target = url.pathname.slice(1);
      try {
        Deno.statSync(`${ROOT}${target}`);
      } catch {
        problems.push(`${page}: no ${target}`);
        continue;
      }
      if (anchor !== undefined && !anchorsOf(readPage(target)).has(anchor)) {
        problems.push(`${page}: no heading ${anchor} in ${target}`);
      }
    }
  }
  assertEquals(problems, []);
});

Deno.test("every picture is small, and a page shows it", () => {
  const shown = new Set(
    PAGES.flatMap((page) =>
      linksOf(readPage(page)).map((link) =>
        new URL(link, `file:///${page}`).pathname.slice(1)
      )
    ),
  );
  const folder = "docs/pictures";
  const pictures = [...Deno.readDirSync(`${ROOT}${folder}`)];
  for (const { name } of pictures) {
    const { size } = Deno.statSync(`${ROOT}${folder}/${name}`);
    assert(size > 1000 && size <= 200_000, `${name}: ${size} bytes`);
    assert(shown.has(`${folder}/${name}`), `no page shows ${name}`);
  }
  assert(pictures.length >= 4);
});

Deno.test("the JSON that a page describes has the keys of a schema of its command", () => {
  const schemas = [...jsonSchemas()].map(([name, schema]) =>
    [name.replace(".schema.json", ""), keysOfSchema(schema)] as const
  );
  let compared = 0;
  for (const { name } of COMMANDS) {
    const ofCommand = schemas.filter(([of]) => of.split("-")[0] === name);
    for (const notation of notationsIn(readPage(`docs/commands/${name}.md`))) {
      const found = ofCommand.map(([, keys]) => differences(notation, keys));
      if (found.length === 0) continue;
      // `inspect` has one for each of its options.
      const [fewest] = found.toSorted((a, b) => a.length - b.length);
      if (WITHOUT_SCHEMA.includes(Object.keys(notation).at(-1) ?? "")) continue;
      compared++;
      assertEquals(fewest, [], name);
    }
  }
  assert(compared >= 10, `${compared}`);
});

Deno.test("a key that is missing, or too many, is found", () => {
  const notation = parseNotation(
    "{version, groups: [{name, memory: {total}}]}",
  );
  const real = { version: 1, groups: [{ name: "a", memory: { used: 1 } }] };
  assertEquals(differences(notation, keysOf({ ...real, more: 1 })), [
    "groups.memory.total is not there",
    "groups.memory.used is not documented",
    "more is not documented",
  ]);
  assertEquals(differences(notation, keysOf({ groups: [{ name: "a" }] })), [
    "version is not there",
    "groups.memory is not there",
  ]);
});

Deno.test("every command has a page, and the page of all commands leads to it", () => {
  const all = readPage("docs/commands.md");
  for (const { name, summary } of COMMANDS) {
    assert(readPage(`docs/commands/${name}.md`).startsWith(`# rcap ${name}\n`));
    const row = `| [\`${name}\`](commands/${name}.md) | ${summary} |`;
    assert(all.replace(/ +/g, " ").includes(row), row);
  }
});

Deno.test("commands of a script are split as the shell does", () => {
  assertEquals(
    shellCommands(
      "a b  'c d' # no\nx && y \\\n  z > /out 2>> err | e \"f g\"; Z=$(h i) && j\n" +
        "cat > f <<'END'\nk l\nEND\nm",
    ),
    [
      ["a", "b", "c d"],
      ["x"],
      ["y", "z"],
      ["e", "f g"],
      ["Z=$(h i)"],
      ["j"],
      ["cat"],
      ["m"],
    ],
  );
});
