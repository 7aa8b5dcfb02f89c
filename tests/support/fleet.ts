/**
 * Many small processes for tests and benchmarks: `fixtures/fleet.pl`.
 *
 * @module
 */

const PROGRAM = new URL("../fixtures/fleet.pl", import.meta.url).pathname;

export interface FleetOptions {
  /** Number of processes. */
  count: number;
  /** Memory of each, in bytes. */
  size: number;
  /** How much of it each reads once a second, in bytes. */
  hot: number;
  /** Their name, of at most 15 bytes. */
  name: string;
}

/** Processes that run until this is disposed. */
export class Fleet implements AsyncDisposable {
  readonly pids: readonly number[];
  readonly #process: Deno.ChildProcess;

  private constructor(process: Deno.ChildProcess, pids: readonly number[]) {
    this.#process = process;
    this.pids = pids;
  }

  /** Starts them and waits until all have filled their memory. */
  static async start(options: FleetOptions): Promise<Fleet> {
    const { count, size, hot, name } = options;
    const process = new Deno.Command("perl", {
      args: [PROGRAM, `${count}`, `${size}`, `${hot}`, name],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    let text = "";
    const decoder = new TextDecoder();
    for await (const chunk of process.stdout) {
      text += decoder.decode(chunk, { stream: true });
      if (text.endsWith("\n")) break;
    }
    const pids = text.trim().split(" ").map(Number);
    if (pids.length !== count) {
      throw new Error(`${pids.length} of ${count} processes have started`);
    }
    return new Fleet(process, pids);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stdin.close();
    await this.#process.status;
  }
}
