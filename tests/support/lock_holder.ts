/**
 * Processes that hold their own mmap lock: `fixtures/lock_holder.c`.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { cProgram } from "./c_program.ts";
import { waitingFor } from "./deadline.ts";

export interface LockHolderOptions {
  /** Size of the memory that it fills, in bytes. */
  size: number;
  /** Its name, of at most 15 bytes. */
  name?: string;
}

/** A process that holds its own lock on request; disposing ends it. */
export class LockHolder implements AsyncDisposable {
  /** The process that holds the lock. */
  readonly pid: number;
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #lines: ReadableStreamDefaultReader<string>;

  private constructor(
    pid: number,
    process: Deno.ChildProcess,
    lines: ReadableStreamDefaultReader<string>,
  ) {
    this.pid = pid;
    this.#process = process;
    this.#input = process.stdin.getWriter();
    this.#lines = lines;
  }

  /** Starts a process and waits until it has filled its memory. */
  static async start(
    { size, name = "lock_holder" }: LockHolderOptions,
  ): Promise<LockHolder> {
    const process = new Deno.Command(
      await cProgram("lock_holder", ["-pthread"]),
      {
        args: [`${size}`, name],
        stdin: "piped",
        stdout: "piped",
        stderr: "inherit",
      },
    ).spawn();
    const lines = process.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
    const { value = "" } = await waitingFor("a lock holder", lines.read());
    const pid = Number(value);
    assert(pid > 0, "a lock holder starts: it needs /dev/fuse and namespaces");
    return new LockHolder(pid, process, lines);
  }

  /**
   * Takes the lock, with a thread that waits to write, so that no other process
   * gets it.
   */
  async lock(): Promise<void> {
    assertEquals(await this.#ask("lock"), "+");
  }

  /** Takes the lock for reading, so that others can read too. */
  async read(): Promise<void> {
    assertEquals(await this.#ask("read"), "+");
  }

  /** Releases the lock. */
  async unlock(): Promise<void> {
    assertEquals(await this.#ask("unlock"), "+");
  }

  /** Whether its memory is unchanged. */
  async isIntact(): Promise<boolean> {
    return await this.#ask("check") === "+";
  }

  async #ask(command: string): Promise<string> {
    await this.#input.write(new TextEncoder().encode(`${command}\n`));
    const { value = "" } = await waitingFor(
      `a lock holder to ${command}`,
      this.#lines.read(),
    );
    return value.trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close().catch(() => {});
    await this.#process.status;
    await this.#lines.cancel();
  }
}
