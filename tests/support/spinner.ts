/**
 * Processes that keep a few pages in use without a system call: `fixtures/spinner.c`.
 *
 * @module
 */

import { assert } from "@std/assert";
import { waitingFor } from "./deadline.ts";

const SOURCE = new URL("../fixtures/spinner.c", import.meta.url).pathname;

/** A process that keeps writing to the first pages of its memory; disposing ends it. */
export class Spinner implements AsyncDisposable {
  /** Where its memory starts. */
  readonly start: bigint;
  readonly #process: Deno.ChildProcess;

  private constructor(start: bigint, process: Deno.ChildProcess) {
    this.start = start;
    this.#process = process;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Starts a process and waits until it has filled its memory. */
  static async start(
    { pages, hot }: { pages: number; hot: number },
  ): Promise<Spinner> {
    const folder = await Deno.makeTempDir({ prefix: "rcap-" });
    try {
      const program = `${folder}/spinner`;
      const { success, stderr } = await new Deno.Command("cc", {
        args: ["-O1", "-Wall", "-Werror", "-pthread", SOURCE, "-o", program],
      }).output();
      assert(success, new TextDecoder().decode(stderr));
      const process = new Deno.Command(program, {
        args: [`${pages}`, `${hot}`],
        stdin: "piped",
        stdout: "piped",
      }).spawn();
      const lines = process.stdout.pipeThrough(new TextDecoderStream())
        .getReader();
      const { value = "" } = await waitingFor("a spinner", lines.read());
      await lines.cancel();
      return new Spinner(BigInt(value.trim()), process);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stdin.close();
    await this.#process.status;
  }
}
