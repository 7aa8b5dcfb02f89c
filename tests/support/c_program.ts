/**
 * Programs in C that tests run: `fixtures/*.c`.
 *
 * @module
 */

import { assert } from "@std/assert";
import { waitingFor } from "./deadline.ts";

const FIXTURES = new URL("../fixtures", import.meta.url).pathname;

/** The programs that were built, by name. */
const built = new Map<string, string>();

/** Builds the program of a fixture, once, and returns its path. */
export async function cProgram(
  name: string,
  options: readonly string[] = [],
): Promise<string> {
  const path = built.get(name);
  if (path !== undefined) return path;
  const folder = Deno.makeTempDirSync({ prefix: "rcap-" });
  addEventListener("unload", () => {
    Deno.removeSync(folder, { recursive: true });
  });
  const program = `${folder}/${name}`;
  const { success, stderr } = await new Deno.Command("cc", {
    args: [
      ...["-O1", "-Wall", "-Werror", ...options],
      ...[`${FIXTURES}/${name}.c`, "-o", program],
    ],
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  built.set(name, program);
  return program;
}

/** Such a program while it runs: it says that it is ready, and ends when its input does. */
export class CProcess implements AsyncDisposable {
  readonly pid: number;
  /** The line that it wrote when it was ready. */
  readonly answer: string;
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #output: ReadableStreamDefaultReader<string>;

  private constructor(
    process: Deno.ChildProcess,
    output: ReadableStreamDefaultReader<string>,
    answer: string,
  ) {
    this.pid = process.pid;
    this.answer = answer;
    this.#process = process;
    this.#input = process.stdin.getWriter();
    this.#output = output;
  }

  /** Starts the program of a fixture and waits until it is ready. */
  static async start(name: string, ...args: string[]): Promise<CProcess> {
    const process = new Deno.Command(await cProgram(name), {
      args,
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const output = process.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
    const { value = "" } = await waitingFor(name, output.read());
    const one = new CProcess(process, output, value.trim());
    if (value === "") {
      await one[Symbol.asyncDispose]();
      throw new Error(`${name} did not start`);
    }
    return one;
  }

  /** Writes a line to the program, and returns the line that it answers. */
  async ask(command: string): Promise<string> {
    await this.#input.write(new TextEncoder().encode(`${command}\n`));
    const { value = "" } = await waitingFor(command, this.#output.read());
    return value.trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close().catch(() => {});
    await this.#process.status;
    await this.#output.cancel();
  }
}
