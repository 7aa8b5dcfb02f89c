/**
 * The output that the documentation shows is that of the program: each command at a prompt
 * is run, and has the same headings, and the same sentences but for figures. A block that
 * is not compared has the reason before it: `<!-- not run: REASON -->`.
 *
 * What differs from a reader's command line: pids and services are those of a process of
 * the test, files and the daemon are in a folder of its own, and time is shorter.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { allow } from "../support/deadline.ts";
import { MIB, requireRoot } from "../support/live.ts";
import { type Block, shellCommands } from "../support/markdown.ts";
import { differences, keysOf, notationsIn } from "../support/notation.ts";
import { commandBlocks, PAGES, readPage } from "../support/pages.ts";
import { rcap, type Running, startRcap } from "../support/rcap.ts";
import { say } from "../support/say.ts";
import { zramSwap } from "../support/swap.ts";
import { until } from "../support/workload.ts";
import { ageOf } from "../vm/files.ts";

requireRoot();

/** The process of docs/tutorial.md. */
const LAZY = /cat > \/root\/lazy\.pl <<'END'\n(.*?)^END$/ms;

const CONFIGURATION = `[[cap]]
name = "lazy"
select = [["comm:lazy", "user:root"]]
max_rss = "64M"
`;

/** The files that docs/commands/check.md speaks of. */
const INVALID: readonly [path: string, text: string][] = [
  [
    "rcap.toml",
    '# The first cap.\n\n[daemon]\n\n[[cap]]\nname = "web"\nselect = ["user:root"]\nmax_rs = "1G"\nmax_rss = "1G"\n',
  ],
  [
    "rcap.d/web.toml",
    '[[cap]]\nname = "web"\nselect = ["user:root"]\nmax_rss = "1G"\n',
  ],
];

/** What is asked of the daemon, or while there is none. */
const OF_DAEMON = ["stat", "set", "pause", "resume", "reload"];

/** A command at a prompt, and the lines below it. */
interface Shown {
  readonly place: string;
  readonly words: readonly string[];
  readonly output: string;
}

/** All commands at prompts, in order. */
function shownIn(page: string): Shown[] {
  return promptBlocks(page).filter((block) => block.notRun === undefined)
    .flatMap((block) =>
      block.text.split(/^\$ (?=rcap )/m).slice(1).map((part) => {
        const [line = "", ...output] = part.split("\n");
        const [words = []] = shellCommands(line);
        return {
          place: `${page}:${block.line}: ${line}`,
          words,
          output: output.join("\n"),
        };
      })
    );
}

function promptBlocks(page: string): Block[] {
  return commandBlocks(page).map(({ block }) => block)
    .filter(({ language }) => language !== "sh");
}

/** What of an output does not depend on the machine and the moment. */
interface Form {
  readonly headings: string[];
  readonly sentences: string[];
  /** The first words of the rows. */
  readonly rows: string[];
}

function formOf(output: string): Form {
  const form: Form = { headings: [], sentences: [], rows: [] };
  for (const line of output.split("\n")) {
    const words = line.trim().split(/\s+/).filter((word) => word !== "");
    if (words.length === 0 || line.trim() === "…") continue;
    if (words.length > 1 && words.every(isHeading)) {
      form.headings.push(words.join(" "));
    } else if (
      !/^\s*[│\d]/.test(line) && words.filter(isWord).length >= 3 ||
      /^\d\S* (process|range)/.test(line) || /^\[\[|^\w+ = /.test(line)
    ) {
      form.sentences.push(withoutFigures(words.join(" ")));
    } else form.rows.push(words[0]);
  }
  return form;
}

function isHeading(word: string): boolean {
  return /^[A-Z][A-Z0-9_]*(\/s)?$/.test(word);
}

function isWord(word: string): boolean {
  return /^[a-zA-Z]{2,}[.,:;]?$/.test(word);
}

/** A sentence with `#` for figures, so also for one and several. */
function withoutFigures(sentence: string): string {
  return sentence
    .replace(/^(\w+) = .*/, "$1 =")
    .replace(/[<>~]?\d(?:[\w.,:%µ/]*[\w%µ])?/g, "#")
    .replace(/#( #)+/g, "#")
    .replace(/(# \w+?)(?:es|s)?\b/g, "$1");
}

Deno.test("the output in the documentation has the form of the program's", async () => {
  allow(300);
  await using _swap = await zramSwap({ size: 512 * MIB });
  using stage = new Stage();
  const shown = PAGES.flatMap(shownIn);
  const isOfDaemon = ({ words }: Shown) => OF_DAEMON.includes(words[1]);
  const problems: string[] = [];
  const compare = async (one: Shown) => {
    await using lazy = await Lazy.start();
    const real = await stage.run(one.words.slice(1), lazy);
    const found = compared(one, real);
    if (found.length > 0) problems.push(one.place, ...found, real);
  };
  for (const one of shown.filter((one) => !isOfDaemon(one))) await compare(one);
  await using _daemon = await stage.daemon();
  for (const one of shown.filter(isOfDaemon)) await compare(one);
  const notRun = PAGES.flatMap(promptBlocks)
    .filter((block) => block.notRun !== undefined).length;
  say(`${shown.length} outputs were compared, ${notRun} were not`);
  assertEquals(problems, []);
  assert(shown.length > 15, `${shown.length}`);
});

/** What the documentation shows otherwise than the program. */
function compared({ words, output }: Shown, text: string): string[] {
  const documented = formOf(output);
  const real = formOf(text);
  const problems: string[] = [];
  const headings = [...new Set(documented.headings)].join("\n");
  if (headings !== [...new Set(real.headings)].join("\n")) {
    problems.push(`headings: ${headings}`);
  }
  if (words[1] === "doctor") {
    const names = documented.headings.length > 0 ? namesOf(output) : [];
    if (names.join() !== namesOf(text).join()) {
      problems.push(`capabilities: ${names}`);
    }
    return problems;
  }
  for (const sentence of documented.sentences) {
    if (!real.sentences.includes(sentence)) problems.push(sentence);
  }
  return problems;
}

/** The names of capabilities in the table of doctor. */
function namesOf(output: string): string[] {
  return [...output.matchAll(/^(\S+(?: \S+)?) {2,}(?:ok|degraded|missing) /gm)]
    .map(([, name = ""]) => name);
}

Deno.test("the JSON of recordings is that of the documentation", async () => {
  await using lazy = await Lazy.start();
  using stage = new Stage();
  const file = `${stage.folder}/json.rcap`;
  const pid = `${lazy.pid}`;
  const commands: [command: string, args: string[]][] = [
    ["record", [pid, "-o", file, "--for", "4s", "--every", "1s"]],
    ["report", [file]],
    ["replay", [file, "--cap", "64M"]],
    ["inspect", [pid, "--heat"]],
  ];
  for (const [command, args] of commands) {
    const { stdout, stderr } = await rcap([command, ...args, "--json"]);
    assert(stdout !== "", stderr);
    const keys = keysOf(JSON.parse(stdout));
    const found = notationsIn(readPage(`docs/commands/${command}.md`))
      .map((notation) => differences(notation, keys));
    const [fewest] = found.toSorted((a, b) => a.length - b.length);
    assertEquals(fewest, [], command);
  }
});

/** The process that the documentation speaks of. */
class Lazy implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
  }

  static async start(): Promise<Lazy> {
    const [, program = ""] = LAZY.exec(readPage("docs/tutorial.md")) ?? [];
    const lazy = new Lazy(
      new Deno.Command("perl", {
        args: ["-e", program],
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).spawn(),
    );
    const status = `/proc/${lazy.pid}/status`;
    await until(() => {
      const text = Deno.readTextFileSync(status);
      return /^Name:\tlazy$/m.test(text) &&
        Number(/^VmRSS:\s+(\d+)/m.exec(text)?.[1]) > 200 * 1024;
    }, "the process to have its memory");
    return lazy;
  }

  get pid(): number {
    return this.#child.pid;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
  }
}

/** Where commands are run. */
class Stage implements Disposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "rcap-docs-" });

  constructor() {
    Deno.writeTextFileSync(`${this.folder}/try.toml`, CONFIGURATION);
    Deno.mkdirSync(`${this.folder}/rcap.d`);
    for (const [path, text] of INVALID) {
      Deno.writeTextFileSync(`${this.folder}/${path}`, text);
    }
  }

  /** Runs a command, and returns what it prints on both streams. */
  async run(words: readonly string[], lazy: Lazy): Promise<string> {
    // They show what is in swap.
    if (words[0] === "restore" || words[0] === "top") {
      await rcap(["scan", `pid:${lazy.pid}`, "--cap", "64M"]);
    }
    const { stdout, stderr } = await rcap(this.#argumentsOf(words, lazy));
    const [before, after] = words.includes("/root/try.toml")
      ? [`${this.folder}/`, "/root/"]
      : [`${this.folder}/`, words[0] === "check" ? "/etc/" : ""];
    return `${stderr}${stdout}`.replaceAll(before, after);
  }

  #argumentsOf([command, ...words]: readonly string[], lazy: Lazy): string[] {
    const args = words.map((word) =>
      word.replace(/^((?:pid:|tree:)?)\d{4,}$/, `$1${lazy.pid}`)
        .replace(/^\w+\.rcap$/, `${this.folder}/$&`)
        .replace("/root/try.toml", `${this.folder}/try.toml`)
    );
    const state = ["--state-dir", `${this.folder}/state`];
    const config = ["--config", `${this.folder}/try.toml`];
    switch (command) {
      case "stat":
        return [command, "1", "2", ...state];
      case "run":
        return [command, ...args, ...state, ...config];
      case "check":
        return args.includes("--config")
          ? [command, ...args]
          : [command, "--config", `${this.folder}/rcap.toml`];
      case "size":
      case "top":
        return [command, ...args, "--observe", "4s"];
      case "record":
        return [command, ...args, "--for", "6s", "--every", "1s"];
      default:
        return OF_DAEMON.includes(command)
          ? [command, ...args, ...state]
          : [command, ...args];
    }
  }

  /** Starts the daemon, and waits for its state. */
  async daemon(): Promise<AsyncDisposable> {
    const running: Running = startRcap([
      "run",
      ...["--config", `${this.folder}/try.toml`],
      ...["--state-dir", `${this.folder}/state`],
    ]);
    const state = `${this.folder}/state/state.json`;
    await until(() => ageOf(state) < Infinity, "the daemon to work");
    return {
      async [Symbol.asyncDispose]() {
        running.child.kill("SIGTERM");
        await running.end();
      },
    };
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder, { recursive: true });
  }
}
