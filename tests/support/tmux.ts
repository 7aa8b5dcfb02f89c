/**
 * A terminal in tmux(1): a test types keys, and reads the screen.
 *
 * @module
 */

import { assert } from "@std/assert";
import { until } from "./workload.ts";

const decoder = new TextDecoder();

/** A terminal with a shell; disposing ends it and what runs in it. */
export class Terminal implements Disposable {
  readonly #socket = `rcap-${crypto.randomUUID().slice(0, 8)}`;

  /** @param env what the shell has besides, and instead of, the environment of the test. */
  constructor(
    { width = 80, height = 24, env = {} }: {
      width?: number;
      height?: number;
      env?: Record<string, string>;
    } = {},
  ) {
    const variables = Object.entries({ LC_ALL: "C.UTF-8", ...env })
      .map(([name, value]) => `${name}=${value}`);
    // The server shows UTF-8 whatever the programs in it write.
    this.#tmux(
      "-u",
      "-f",
      "/dev/null",
      "new-session",
      "-d",
      "-x",
      `${width}`,
      "-y",
      `${height}`,
      `env -u NO_COLOR ${variables.join(" ")} PS1='ready> ' bash --norc`,
    );
  }

  #tmux(...args: string[]): string {
    const { success, stdout, stderr } = new Deno.Command("tmux", {
      args: ["-L", this.#socket, ...args],
      env: { LC_ALL: "C.UTF-8" },
    }).outputSync();
    assert(success, `tmux ${args.join(" ")}: ${decoder.decode(stderr)}`);
    return decoder.decode(stdout);
  }

  /** Types keys, by the names of tmux(1): `Enter`, `Escape`, `C-z`, or a character. */
  press(...keys: string[]): void {
    this.#tmux("send-keys", ...keys);
  }

  /** Types a text as it is. */
  type(text: string): void {
    this.#tmux("send-keys", "-l", text);
  }

  /** Runs a command line of the shell. */
  run(commandLine: string): void {
    this.type(commandLine);
    this.press("Enter");
  }

  resize(width: number, height: number): void {
    this.#tmux("resize-window", "-x", `${width}`, "-y", `${height}`);
  }

  /** The lines on the screen, with escape sequences of colours if wanted. */
  screen({ colors = false } = {}): string[] {
    return this.#tmux("capture-pane", "-p", ...colors ? ["-e"] : []).split(
      "\n",
    );
  }

  /** Waits until the screen matches, and returns it. */
  async shows(what: RegExp): Promise<string[]> {
    let last: string[] = [];
    const shows = () => {
      last = this.screen();
      return what.test(last.join("\n"));
    };
    try {
      await until(shows, `the screen to show ${what}`, 30_000, 50);
    } catch (error) {
      throw new Error(`the screen is\n${last.join("\n")}`, { cause: error });
    }
    return last;
  }

  /**
   * Whether the cursor is shown, the alternate screen is, and the mouse is reported: 1 or
   * 0 each.
   */
  modes(): string {
    return this.#tmux(
      "display-message",
      "-p",
      "#{cursor_flag} #{alternate_on} #{mouse_any_flag}",
    ).trim();
  }

  /** The pid of what runs in the shell: the last of its children. */
  foreground(): number {
    const shell = this.#tmux("display-message", "-p", "#{pane_pid}").trim();
    const children = Deno.readTextFileSync(
      `/proc/${shell}/task/${shell}/children`,
    );
    return Number(children.trim().split(" ").at(-1));
  }

  [Symbol.dispose](): void {
    this.#tmux("kill-server");
  }
}
