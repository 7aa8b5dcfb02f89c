/**
 * Processes that map memory more than once, and other programs that fill memory.
 *
 * @module
 */

import { assert } from "@std/assert";
import { waitingFor } from "./deadline.ts";

const SOURCE = new URL("../fixtures/sharing.c", import.meta.url).pathname;

/** A program that prints a line when its memory is filled, and ends with its input. */
export async function startProgram(
  command: string[],
): Promise<AsyncDisposable & { pid: number }> {
  const [program, ...args] = command;
  const process = new Deno.Command(program, {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const lines = process.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const { value = "" } = await waitingFor(`${program} to start`, lines.read());
  assert(value !== "", `${command.join(" ")} starts`);
  return {
    pid: process.pid,
    async [Symbol.asyncDispose]() {
      process.kill("SIGKILL");
      await lines.cancel();
      await process.stdin.close().catch(() => {});
      await process.status;
    },
  };
}

/** Builds `fixtures/sharing.c`, processes that map memory more than once. */
export async function buildSharing(): Promise<Disposable & { path: string }> {
  const folder = Deno.makeTempDirSync({ prefix: "rcap-" });
  const path = `${folder}/sharing`;
  const { success, stderr } = await new Deno.Command("cc", {
    args: ["-O1", "-Wall", "-Wextra", "-Werror", SOURCE, "-o", path],
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return {
    path,
    [Symbol.dispose]: () => Deno.removeSync(folder, { recursive: true }),
  };
}
