/**
 * A process whose memory the kernel has pinned: `fixtures/pinned.c`.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { waitingFor } from "./deadline.ts";

const SOURCE = new URL("../fixtures/pinned.c", import.meta.url).pathname;

/** A process that has registered all of its memory with io_uring; disposing ends it. */
export class PinnedProcess implements AsyncDisposable {
  readonly pid: number;
  readonly #process: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  #hasEnded = false;

  private constructor(
    process: Deno.ChildProcess,
    lines: ReadableStreamDefaultReader<string>,
  ) {
    this.pid = process.pid;
    this.#process = process;
    this.#lines = lines;
  }

  /** Starts one, and waits until so many bytes, a multiple of 1 MiB, are pinned. */
  static async start(bytes: number): Promise<PinnedProcess> {
    const folder = Deno.makeTempDirSync({ prefix: "rcap-" });
    try {
      const program = `${folder}/pinned`;
      const { success, stderr } = await new Deno.Command("cc", {
        args: ["-O1", "-Wall", "-Werror", SOURCE, "-o", program],
      }).output();
      assert(success, new TextDecoder().decode(stderr));
      const process = new Deno.Command(program, {
        args: [`${bytes >> 20}`],
        stdin: "piped",
        stdout: "piped",
        stderr: "inherit",
      }).spawn();
      const lines = process.stdout.pipeThrough(new TextDecoderStream())
        .getReader();
      const { value } = await waitingFor("a pinned process", lines.read());
      assert(value, "a process can register buffers: it needs io_uring");
      return new PinnedProcess(process, lines);
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  }

  /** Ends it, and asserts that its memory is unchanged. */
  async end(): Promise<void> {
    this.#hasEnded = true;
    await this.#process.stdin.close();
    const { code } = await waitingFor("its end", this.#process.status);
    await this.#lines.cancel();
    assertEquals(code, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#hasEnded) return;
    this.#process.kill("SIGKILL");
    await this.#process.stdin.close().catch(() => {});
    await this.#process.status;
    await this.#lines.cancel();
  }
}
