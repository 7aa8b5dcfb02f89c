/**
 * Tests of the completions in bash, zsh and fish themselves: keys are typed on a
 * terminal, and fish is asked for its completions.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { COMMANDS } from "../../cmd/commands.ts";
import { requirePrograms } from "../../tests/support/programs.ts";
import { completionFiles, writeCompletions } from "./completions.ts";
import { assertRuns } from "./run.ts";
import { commandPages } from "./tree.ts";

await requirePrograms({ zsh: "zsh", fish: "fish" });

const TYPE_KEYS =
  new URL("../../tests/fixtures/type_keys.zsh", import.meta.url).pathname;

/** A name that a shell must not evaluate, as another user might choose it. */
const HOSTILE = "$(>evil)`>evil`;.service";

/**
 * A folder with the completions, and programs that they ask: systemctl and rcap know
 * units and groups that this machine need not have.
 */
class Installation implements Disposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "rcap-completions-" });
  readonly #env: Record<string, string>;

  constructor() {
    const program = (name: string, text: string) =>
      Deno.writeTextFileSync(`${this.folder}/bin/${name}`, text, {
        mode: 0o755,
      });
    Deno.mkdirSync(`${this.folder}/bin`);
    program(
      "systemctl",
      `#!/bin/sh
test "$*" = "list-units --all --plain --full --no-legend" || exit 1
cat <<'END'
nginx.service           loaded active running A web server
srv\\x2ddata.service     loaded active running With a backslash
${HOSTILE}              loaded active running Hostile
machine.slice           loaded active active  Machines
data.mount              loaded active mounted No processes
END
`,
    );
    program(
      "rcap",
      `#!/bin/sh
test "$*" = "stat 1 1 -H -o name" || exit 1
printf 'browsers\\ndatabase\\n'
`,
    );
    const path = `${this.folder}/bin:${Deno.env.get("PATH")}`;
    this.#env = { PATH: path, HOME: this.folder };
    const shown =
      `rcap() { printf 'argument<%s>\\n' "$@"; echo finished; }; PS1='ready>'`;
    const share = `${this.folder}/usr/share`;
    Deno.writeTextFileSync(
      `${this.folder}/bashrc`,
      `source ${share}/bash-completion/completions/rcap\n` +
        `bind 'set bell-style none'\n${shown}\n`,
    );
    Deno.writeTextFileSync(
      `${this.folder}/.zshrc`,
      `fpath=(${share}/zsh/vendor-completions $fpath)\n` +
        `autoload -U compinit; compinit -D -u\n${shown}\n`,
    );
  }

  async write(): Promise<void> {
    await writeCompletions(this.folder);
  }

  /**
   * Asserts which arguments rcap gets if keys are typed, the tabs among them. A shell
   * does not say when it has completed a word, so each try waits longer for it.
   */
  async assertTyped(
    shell: "bash" | "zsh",
    keys: readonly string[],
    words: readonly string[],
  ): Promise<void> {
    let got: string[] = [];
    for (const pause of [0.7, 2, 5]) {
      got = await this.#type(shell, pause, keys);
      if (got.join("\n") === words.join("\n")) return;
    }
    assertEquals(got, words, keys.join(" "));
  }

  async #type(
    shell: "bash" | "zsh",
    pause: number,
    keys: readonly string[],
  ): Promise<string[]> {
    const text = await assertRuns(
      "zsh",
      ["-f", TYPE_KEYS, this.folder, shell, `${pause}`, ...keys],
      { cwd: this.folder, env: this.#env },
    );
    return Array.from(
      text.matchAll(/^argument<(.*)>\r?$/gm),
      ([, word]) => word,
    );
  }

  /** Returns the completions that fish has for a command line. */
  async askFish(line: string): Promise<string[]> {
    const file = `${this.folder}/usr/share/fish/vendor_completions.d/rcap.fish`;
    const text = await assertRuns("fish", [
      "--no-config",
      "-c",
      `source ${file}; complete -C $argv[1]`,
      line,
    ], { cwd: this.folder, env: this.#env });
    return text.split("\n").filter((line) => line !== "")
      .map((line) => line.split("\t")[0]);
  }

  /** Asserts that no name was evaluated. */
  assertUnharmed(): void {
    const names = Array.from(Deno.readDirSync(this.folder), ({ name }) => name);
    assert(!names.includes("evil"), names.join(" "));
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder, { recursive: true });
  }
}

for (const shell of ["bash", "zsh"] as const) {
  Deno.test(`${shell} completes commands, options, values, users, units and groups`, async () => {
    using installed = new Installation();
    await installed.write();
    const lines: [keys: string[], words: string[]][] = [
      [
        ["rcap sca\t", "user:roo\t", "--pol\t", "col\t", "--log-l\t", "deb\t"],
        ["scan", "user:root", "--policy", "coldest", "--log-level", "debug"],
      ],
      [["rcap scan un\t", "ngi\t"], ["scan", "unit:nginx.service"]],
      [["rcap scan unit:sr\t"], ["scan", "unit:srv\\x2ddata.service"]],
      [["rcap size --by us\t", "pid:1 unit:mach\t"], [
        "size",
        "--by",
        "user",
        "pid:1",
        "unit:machine.slice",
      ]],
      [["rcap size unit:dat\t"], ["size", "unit:dat"]],
      [["rcap pause bro\t"], ["pause", "browsers"]],
      [["rcap --no-col\t", "set dat\t", "1G"], [
        "--no-color",
        "set",
        "database",
        "1G",
      ]],
      [["rcap help ins\t"], ["help", "inspect"]],
      [["rcap check --config bash\t"], ["check", "--config", "bashrc"]],
    ];
    await Promise.all(
      lines.map(([keys, words]) => installed.assertTyped(shell, keys, words)),
    );
    await installed.assertTyped(shell, ["rcap scan unit:\\$\t"], [
      "scan",
      `unit:${HOSTILE}`,
    ]);
    installed.assertUnharmed();
  });
}

Deno.test("fish completes commands, options, values, users, units and groups", async () => {
  using installed = new Installation();
  await installed.write();
  const has = async (line: string, ...words: string[]) => {
    const found = await installed.askFish(line);
    for (const word of words) {
      assert(found.includes(word), `${word} for ${line}: ${found.join(" ")}`);
    }
  };
  await has("rcap ", ...COMMANDS.map(({ name }) => name), "help", "version");
  await has("rcap scan user:", "user:root");
  await has(
    "rcap scan unit:",
    "unit:nginx.service",
    "unit:srv\\x2ddata.service",
    "unit:machine.slice",
  );
  await has("rcap scan ", "user:", "unit:", "cgroup:");
  await has("rcap scan --policy ", "clock", "coldest");
  await has("rcap pause ", "browsers", "database");
  await has("rcap set d", "database");
  await has("rcap help ", "inspect");
  await has("rcap check --config bash", "bashrc");
  for (const { name, options } of (await commandPages()).slice(1)) {
    const longs = options.flatMap(({ long }) => long ?? []);
    await has(`rcap ${name} --`, ...longs);
  }
  assertEquals(
    (await installed.askFish("rcap scan unit:"))
      .filter((word) => word.includes("mount")),
    [],
  );
  installed.assertUnharmed();
});

Deno.test("the completions of every shell name every command and option", async () => {
  const pages = await commandPages();
  for (const [path, text] of await completionFiles()) {
    for (const { name, options } of pages) {
      assert(text.includes(name), `${name} in ${path}`);
      for (const { long } of options) {
        const word = path.endsWith(".fish") ? long?.slice(2) : long;
        assert(word && text.includes(word), `${long} in ${path}`);
      }
    }
  }
});
