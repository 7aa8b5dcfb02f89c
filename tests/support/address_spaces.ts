/**
 * Runs `fixtures/address_spaces.c`: processes and address spaces that do not correspond
 * one to one.
 *
 * @module
 */

import { assert } from "@std/assert";
import { waitingFor } from "./deadline.ts";

const SOURCE =
  new URL("../fixtures/address_spaces.c", import.meta.url).pathname;

/** What the program is: see its source. */
export type Mode = "clone" | "vfork" | "exited" | "views";

/** The program, running; disposal ends it. */
export class AddressSpaces implements AsyncDisposable {
  readonly pid: number;
  /** The other process, or 0. */
  readonly other: number;
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;

  private constructor(
    process: Deno.ChildProcess,
    input: WritableStreamDefaultWriter<Uint8Array>,
    [pid, other]: number[],
  ) {
    this.#process = process;
    this.#input = input;
    this.pid = pid;
    this.other = other;
  }

  /** Starts it with so many MiB, and waits until all is in place. */
  static async start(mode: Mode, mebibytes: number): Promise<AddressSpaces> {
    const process = new Deno.Command(await program(), {
      args: [mode, `${mebibytes}`],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const reader = process.stdout.getReader();
    const { value } = await waitingFor(
      `address_spaces ${mode} to begin`,
      reader.read(),
    );
    reader.releaseLock();
    await process.stdout.cancel();
    assert(value, "it says its pids");
    const pids = new TextDecoder().decode(value).trim().split(" ").map(Number);
    return new AddressSpaces(process, process.stdin.getWriter(), pids);
  }

  /** Makes the child of vfork execute another program. */
  async exec(): Promise<void> {
    await this.#input.write(new TextEncoder().encode("\n"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close().catch(() => {});
    await this.#process.status;
  }
}

let built: string | undefined;

/** The program, built once. */
async function program(): Promise<string> {
  if (built !== undefined) return built;
  const folder = Deno.makeTempDirSync({ prefix: "rcap-" });
  addEventListener("unload", () => {
    Deno.removeSync(folder, { recursive: true });
  });
  const path = `${folder}/address_spaces`;
  const { success, stderr } = await new Deno.Command("cc", {
    args: ["-O1", "-Wall", "-Werror", "-pthread", SOURCE, "-o", path],
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return built = path;
}
