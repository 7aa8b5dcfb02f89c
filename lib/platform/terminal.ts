/**
 * The terminal as a whole screen: standard input key by key, and standard output as lines
 * of which only those are written that have changed.
 *
 * @module
 */

import { stopSelf } from "../../ffi/stop_self.ts";
import { type Printable, printable } from "../report/escape.ts";
import { isTerminal, print } from "./output.ts";

/** Alternate screen, no cursor, no wrapping, reports of the wheel: XTerm Control Sequences. */
const ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[?1000h\x1b[?1006h\x1b[2J";
const LEAVE = "\x1b[?1006l\x1b[?1000l\x1b[?7h\x1b[?25h\x1b[0m\x1b[?1049l";

/** How long the terminal may take to show that it is left, in milliseconds. */
const LEAVE_MS = 100;

/** Whether standard input and output are a terminal. */
export function isInteractive(): boolean {
  return Deno.stdin.isTerminal() && isTerminal();
}

/** What a terminal can do, by the environment. */
export function terminalAbilities(
  variable: (name: string) => string | undefined,
): { isDumb: boolean; unicode: boolean } {
  const term = variable("TERM") ?? "";
  // locale(7): the first of these that is set and not empty counts.
  const locale = variable("LC_ALL") || variable("LC_CTYPE") ||
    variable("LANG") || "";
  return {
    isDumb: term === "" || term === "dumb",
    unicode: /utf-?8/i.test(locale),
  };
}

/** The screen. Disposing leaves the terminal as it was. */
export class Screen implements AsyncDisposable {
  #shown: readonly Printable[] = [];
  #size = "";
  #isOpen = false;
  /** The last write; writes must not overlap. */
  #writing: Promise<unknown> = Promise.resolve();
  #listeners: [Deno.Signal, () => void][] = [];

  /** @param onChange called when the screen has to be drawn anew. */
  constructor(onChange: () => void) {
    this.#enter();
    this.#listen("SIGWINCH", onChange);
    this.#listen("SIGTSTP", () => this.#stop(onChange));
    // It may have been stopped by SIGSTOP, which cannot be caught.
    this.#listen("SIGCONT", () => {
      if (!this.#isOpen) return;
      this.#enter();
      onChange();
    });
  }

  #listen(signal: Deno.Signal, handler: () => void): void {
    Deno.addSignalListener(signal, handler);
    this.#listeners.push([signal, handler]);
  }

  #enter(): void {
    // Signals of keys, such as Ctrl-C and Ctrl-Z, go on to be signals.
    Deno.stdin.setRaw(true, { cbreak: true });
    this.#isOpen = true;
    this.#shown = [];
    this.#write(ENTER);
  }

  /** The size of the terminal, in characters. */
  get size(): { width: number; height: number } {
    try {
      const { columns, rows } = Deno.consoleSize();
      if (columns > 0 && rows > 0) return { width: columns, height: rows };
    } catch {
      // A terminal need not have a size.
    }
    return { width: 80, height: 24 };
  }

  /**
   * Shows lines, each as wide as the screen. Does nothing if the screen has another size
   * by now: it is about to be drawn anew.
   *
   * @param made the size that they were made for.
   */
  async draw(
    lines: readonly Printable[],
    made: Screen["size"],
  ): Promise<void> {
    if (!this.#isOpen) return;
    const { width, height } = this.size;
    if (made.width !== width || made.height !== height) return this.forget();
    const size = `${width} ${height}`;
    let text = "";
    if (size !== this.#size) {
      this.#shown = [];
      text += "\x1b[2J";
    }
    for (const [at, line] of lines.slice(0, height).entries()) {
      if (this.#shown[at] !== line) text += `\x1b[${at + 1};1H${line}\x1b[0m`;
    }
    this.#size = size;
    this.#shown = lines;
    if (text !== "") await this.#write(text);
  }

  /** Forgets what is shown, so that all is drawn anew. */
  forget(): void {
    this.#shown = [];
    this.#size = "";
  }

  /** Yields what is typed, until the input ends. */
  async *input(): AsyncGenerator<Uint8Array> {
    const buffer = new Uint8Array(1024);
    for (;;) {
      const length = await Deno.stdin.read(buffer);
      if (length === null) return;
      yield buffer.slice(0, length);
    }
  }

  #write(text: string): Promise<unknown> {
    const never = new AbortController().signal;
    return this.#writing = this.#writing.then(() =>
      print([printable(text)], never)
    ).catch(() => {});
  }

  /** Leaves the terminal as it was. What is still to be written follows at once. */
  leave(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#write(LEAVE);
    Deno.stdin.setRaw(false);
  }

  /** Leaves the terminal, stops, and comes back when it is continued. */
  async #stop(onChange: () => void): Promise<void> {
    if (!this.#isOpen) return;
    this.leave();
    await this.#left();
    stopSelf();
    this.#enter();
    this.forget();
    onChange();
  }

  async #left(): Promise<void> {
    let timer: number | undefined;
    const patience = new Promise((resolve) => {
      timer = setTimeout(resolve, LEAVE_MS);
    });
    await Promise.race([this.#writing, patience]);
    clearTimeout(timer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [signal, handler] of this.#listeners) {
      Deno.removeSignalListener(signal, handler);
    }
    this.leave();
    await this.#left();
  }
}
