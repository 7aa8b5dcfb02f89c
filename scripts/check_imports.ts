/**
 * Checks the direction of imports: in the house of the sources every import points
 * down, and no files import each other in a circle. Type-only imports count too.
 *
 *     deno run --allow-read --allow-write --allow-run scripts/check_imports.ts [DIRECTORY]
 *
 * Prints each import that breaks the rule, and exits with code 1 if there are any.
 *
 * @module
 */

import { complain, say } from "../tests/support/say.ts";

/**
 * The rooms of the house, from the top down. A file may import from its own room
 * and from the rooms on lines below it, but not from other rooms on the same line.
 */
export const ROOMS: readonly (readonly string[])[] = [
  ["main.ts"],
  ["cmd"],
  ["lib/top"],
  ["lib/service"],
  ["lib/daemon"],
  ["lib/oneshot"],
  ["lib/policy"],
  ["lib/group"],
  ["lib/config"],
  ["lib/collection"],
  ["lib/observer", "lib/recording", "lib/kubernetes"],
  ["lib/platform"],
  ["lib/scanner", "ffi", "lib/report"],
  ["lib/memory"],
  ["lib/errors.ts"],
  ["lib/std"],
];

/**
 * What of the operating system only some files import. All others take
 * `lib/platform/operating_system.ts`, which `main.ts` hands in.
 */
const SEAMS: readonly {
  readonly behind: readonly string[];
  readonly importers: readonly string[];
  readonly problem: string;
}[] = [
  {
    behind: ["ffi"],
    importers: ["ffi", "lib/platform"],
    problem: "only lib/platform calls into C",
  },
  {
    behind: ["lib/platform/linux", "lib/platform/illumos"],
    importers: ["lib/platform"],
    problem: "only lib/platform knows which operating system there is",
  },
  {
    behind: ["lib/platform/open.ts"],
    importers: ["lib/platform", "main.ts"],
    problem: "main.ts chooses the operating system, and hands it in",
  },
];

/** Folders outside of the house. They import from wherever they like. */
const OUTSIDE = ["bench", "scripts", "tests"];

/** The folder outside of the house that test files may import from. */
const TEST_HELPERS = "tests/support";

/** Files in the house that only tests use; `x_child.ts` runs as a separate process. */
const TEST_FILE = /(?:^|[/_])(?:test|testing|child)\.ts$/;

const RULE =
  `Imports, type-only ones too, point down the rooms of scripts/check_imports.ts:
${ROOMS.map((row) => `  ${row.join("   ")}`).join("\n")}
Rooms on one line do not import each other, and no files import each other in a
circle. What is behind the interface of the operating system, as SEAMS there has it,
is imported by lib/platform alone. Only *_test.ts, testing.ts and *_child.ts import from ${TEST_HELPERS}/ and from
testing.ts and *_child.ts.`;

/**
 * The files of a tree and the files that each imports, as paths relative to its
 * root.
 */
export type ImportGraph = ReadonlyMap<string, readonly string[]>;

/**
 * Checks a tree.
 *
 * @returns the violations, one line each.
 */
export function checkImports(graph: ImportGraph): string[] {
  const problems: string[] = [];
  for (const [file, imported] of graph) {
    if (!isOutside(file) && !placeOf(file)) {
      problems.push(`${file} is in no room`);
    }
    for (const other of imported) {
      const problem = checkImport(file, other);
      if (problem) problems.push(`${file} imports ${other}: ${problem}`);
    }
  }
  for (const circle of circlesOf(graph)) {
    const [first, second] = circle;
    problems.push(
      `${first} imports ${second}: a circle, ${
        [...circle, first].join(" -> ")
      }`,
    );
  }
  return problems;
}

/** Returns what is wrong with an import; `undefined` if it is allowed. */
function checkImport(file: string, other: string): string | undefined {
  if (isOutside(file)) return undefined;
  const isTest = TEST_FILE.test(file);
  if (!isTest && TEST_FILE.test(other)) return "it is for tests only";
  const from = placeOf(file);
  const to = placeOf(other);
  if (!to) {
    const isAllowed = isTest && isIn(other, TEST_HELPERS);
    return isAllowed ? undefined : "it is in no room";
  }
  // A file in no room is reported as such.
  if (!from || from.room === to.room) return undefined;
  if (to.line < from.line) return `${to.room} is above ${from.room}`;
  if (to.line > from.line) return isTest ? undefined : crossedSeam(file, other);
  return `${to.room} and ${from.room} are on one line`;
}

/** What is wrong with an import from behind a seam; `undefined` for nothing. */
function crossedSeam(file: string, other: string): string | undefined {
  return SEAMS.find(({ behind, importers }) =>
    behind.some((place) => isIn(other, place)) &&
    !importers.some((place) => isIn(file, place))
  )?.problem;
}

/** The room of a file, and its line from the top; `undefined` for none. */
function placeOf(file: string): { room: string; line: number } | undefined {
  // If a room is a single file, its test belongs to the room.
  const tested = file.replace(/_test\.ts$/, ".ts");
  for (const [line, row] of ROOMS.entries()) {
    const room = row.find((room) => isIn(file, room) || tested === room);
    if (room !== undefined) return { room, line };
  }
}

function isOutside(file: string): boolean {
  return OUTSIDE.some((folder) => isIn(file, folder));
}

function isIn(file: string, room: string): boolean {
  return file === room || file.startsWith(`${room}/`);
}

/**
 * Finds files that import each other in a circle.
 *
 * @returns circles, each with its files in the order of their imports. When these
 * are cut, others may appear.
 */
function circlesOf(graph: ImportGraph): string[][] {
  const circles: string[][] = [];
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string) => {
    const at = path.indexOf(file);
    if (at >= 0) circles.push(path.slice(at));
    if (at >= 0 || done.has(file)) return;
    path.push(file);
    graph.get(file)?.forEach(visit);
    path.pop();
    done.add(file);
  };
  for (const file of graph.keys()) visit(file);
  return circles;
}

/** The part of the output of `deno info --json` that is used. */
interface DenoInfo {
  readonly modules: readonly {
    readonly specifier: string;
    readonly error?: string;
    readonly dependencies?: readonly {
      readonly code?: { readonly specifier?: string };
      readonly type?: { readonly specifier?: string };
    }[];
  }[];
}

/**
 * Reads the imports of the TypeScript files below a directory, as Deno resolves
 * them with its `deno.json`.
 *
 * @throws Error if Deno fails, for example because of a syntax error.
 */
export async function readImports(directory: string): Promise<ImportGraph> {
  const root = await Deno.realPath(directory);
  const files = (await Array.fromAsync(sourcesBelow(root))).sort();
  const { modules } = await denoInfo(root, files);
  const pathOf = (specifier = "") => {
    if (!specifier.startsWith("file:")) return undefined;
    const path = decodeURIComponent(new URL(specifier).pathname);
    return path.startsWith(`${root}/`) ? path.slice(root.length + 1) : path;
  };
  const graph = new Map<string, string[]>(files.map((file) => [file, []]));
  for (const { specifier, error, dependencies = [] } of modules) {
    if (error !== undefined) throw new Error(error);
    const imported = graph.get(pathOf(specifier) ?? "");
    const paths = dependencies.flatMap(({ code, type }) =>
      pathOf(code?.specifier ?? type?.specifier) ?? []
    );
    // deno.json is imported too, but imports nothing.
    imported?.push(...new Set(paths.filter((path) => !path.endsWith(".json"))));
  }
  return graph;
}

/** Runs `deno info` on some files and all that they import. */
async function denoInfo(
  root: string,
  files: readonly string[],
): Promise<DenoInfo> {
  // It takes a single file, so this one imports all the others.
  const entry = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    const statements = files.map((file) =>
      `import ${JSON.stringify(new URL(file, `file://${root}/`).href)};\n`
    );
    await Deno.writeTextFile(entry, statements.join(""));
    const { success, stdout, stderr } = await new Deno.Command(
      Deno.execPath(),
      { args: ["info", "--json", "--config", `${root}/deno.json`, entry] },
    ).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    return JSON.parse(new TextDecoder().decode(stdout));
  } finally {
    await Deno.remove(entry);
  }
}

/** The TypeScript files below a directory, without hidden and built ones. */
async function* sourcesBelow(
  root: string,
  folder = "",
): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(`${root}/${folder}`)) {
    if (name.startsWith(".") || name === "dist" || name === "node_modules") {
      continue;
    }
    if (isDirectory) yield* sourcesBelow(root, `${folder}${name}/`);
    else if (name.endsWith(".ts")) yield folder + name;
  }
}

if (import.meta.main) {
  const [directory = new URL("..", import.meta.url).pathname] = Deno.args;
  const graph = await readImports(directory);
  const problems = checkImports(graph);
  if (problems.length > 0) {
    complain(`${problems.join("\n")}\n\n${RULE}`);
    Deno.exit(1);
  }
  say(`Checked imports of ${graph.size} files`);
}
