/**
 * Command lines that run a program in another environment: in other namespaces,
 * with another `/proc`, without some system calls.
 *
 * @module
 */

import { assert } from "@std/assert";
import { complain } from "./say.ts";

const FIXTURES = new URL("../fixtures", import.meta.url).pathname;

/** Ends a program that takes longer than any test should, with all its children. */
const DEADLINE = ["timeout", "--kill-after=5", "120"];

/** Runs a program in other namespaces: options of unshare(1). */
export function unshared(...options: string[]): string[] {
  const forks = options.includes("--fork") ? ["--kill-child"] : [];
  return [...DEADLINE, "unshare", ...options, ...forks, "--"];
}

/** Runs a program in a new mount namespace, after a shell script there. */
export function remounted(script: string): string[] {
  const text = `set -e; ${script}\nexec "$@"`;
  return [...unshared("--mount"), "sh", "-c", text, "sh"];
}

/** Runs a program with another `/proc` that has some mount options. */
export function withProc(options: string): string[] {
  return remounted(
    `umount --lazy /proc; mount -t proc -o ${options} proc /proc`,
  );
}

/** Whether this machine allows such an environment; reports it if not. */
export async function isPossible(
  what: string,
  prefix: readonly string[],
): Promise<boolean> {
  const [command, ...args] = [...prefix, "true"];
  const { success, stderr } = await new Deno.Command(command, {
    args,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) {
    complain(
      `NOT SHOWN on this machine: ${what}: ${
        new TextDecoder().decode(stderr).trim()
      }`,
    );
  }
  return success;
}

/** An error with which a system call can be refused. */
export type Refusal = "EPERM" | "ENOSYS";

/** `fixtures/refuse.c`, built into a folder that disposal removes. */
export class Refuser implements Disposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async build(): Promise<Refuser> {
    using held = new DisposableStack();
    const refuser = held.use(
      new Refuser(Deno.makeTempDirSync({ prefix: "rcap-" })),
    );
    // Users other than root need access.
    Deno.chmodSync(refuser.#folder, 0o755);
    const { success, stderr } = await new Deno.Command("cc", {
      args: [
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-o",
        refuser.#program,
        `${FIXTURES}/refuse.c`,
      ],
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    held.move();
    return refuser;
  }

  get #program(): string {
    return `${this.#folder}/refuse`;
  }

  /** Runs a program for which some system calls fail with an error. */
  refusing(calls: readonly string[], error: Refusal): string[] {
    const rules = calls.map((call) => `${call}=${error}`).join(",");
    return [...DEADLINE, this.#program, rules];
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.#folder, { recursive: true });
  }
}
