/**
 * Tests of the daemon's side of its state directory, while others use it.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { File } from "../../ffi/file.ts";
import { SystemError } from "../../ffi/libc.ts";
import "../../ffi/testing.ts";
import { daemonState } from "../group/testing.ts";
import { StateDirectory, writeOverride } from "./state_directory.ts";

const CHILD =
  new URL("../../tests/support/set_child.ts", import.meta.url).pathname;

/** A place for a state directory, removed when disposed. */
function place(): Disposable & { readonly path: string } {
  const folder = Deno.makeTempDirSync({ prefix: "rcap-" });
  return {
    path: `${folder}/state`,
    [Symbol.dispose]: () => Deno.removeSync(folder, { recursive: true }),
  };
}

/** Sets a cap in a loop; killed when disposed. */
class Setter implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;

  constructor(path: string, name: string) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--allow-ffi", CHILD, path, name],
      stdin: "null",
      stdout: "piped",
    }).spawn();
  }

  /** Waits until it has begun. */
  async begun(): Promise<void> {
    const reader = this.#child.stdout.getReader();
    const { value } = await reader.read();
    assertEquals(new TextDecoder().decode(value), "sets\n");
    await reader.cancel();
  }

  /** Whether it still runs: it has not failed. */
  async isRunning(): Promise<boolean> {
    const wait = new Promise<"runs">((resolve) =>
      setTimeout(() => resolve("runs"), 0)
    );
    return await Promise.race([this.#child.status, wait]) === "runs";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (await this.isRunning()) this.#child.kill("SIGKILL");
    await this.#child.status;
  }
}

Deno.test("caps that are set and taken back all the time can be read all the time", async () => {
  using at = place();
  const told: string[] = [];
  using directory = StateDirectory.take(at.path, (text) => told.push(text));
  await using stack = new AsyncDisposableStack();
  // Of one name and of several, so that they are in each other's way.
  const setters = ["a", "a", "a", "b", "c", "d"].map((name) =>
    stack.use(new Setter(at.path, name))
  );
  await Promise.all(setters.map((one) => one.begun()));
  let found = 0;
  for (let i = 0; i < 3000; i++) {
    for (const [name, bytes] of directory.overrides()) {
      assert("abcd".includes(name) && bytes % 4096 === 0, `${name}: ${bytes}`);
      found++;
    }
  }
  assert(found > 0);
  for (const one of setters) assert(await one.isRunning());
  assertEquals(told, []);
});

/** Takes every descriptor that this process may have, but for some. */
function withoutDescriptors(left: number, step: () => void): void {
  const fds = [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => +name);
  const files: File[] = [];
  const limit = Math.max(...fds) + 20;
  const setLimit = (soft: string) => {
    const { success } = new Deno.Command("prlimit", {
      args: ["--pid", `${Deno.pid}`, `--nofile=${soft}:`],
    }).outputSync();
    assert(success);
  };
  const before = /open files\s+(\d+)/.exec(
    Deno.readTextFileSync("/proc/self/limits"),
  )?.[1] ?? "1024";
  setLimit(`${limit}`);
  try {
    assertThrows(
      () => {
        for (;;) files.push(File.open("/dev/null"));
      },
      SystemError,
      "EMFILE",
    );
    for (const file of files.splice(0, left)) file[Symbol.dispose]();
    step();
  } finally {
    for (const file of files) file[Symbol.dispose]();
    setLimit(before);
  }
}

Deno.test({
  name:
    "without a free descriptor, caps stay what they were and releasing never throws",
  fn() {
    for (const left of [0, 1, 2, 3]) {
      using at = place();
      const told: string[] = [];
      const directory = StateDirectory.take(at.path, (text) => told.push(text));
      writeOverride(at.path, "one", 8192);
      assertEquals([...directory.overrides()], [["one", 8192]]);
      directory.write(daemonState());
      writeOverride(at.path, "two", 8192);
      withoutDescriptors(left, () => {
        const names = [...directory.overrides().keys()];
        assertEquals(names.includes("one"), true, `${left} left: ${names}`);
        directory[Symbol.dispose]();
      });
      if (left === 0) {
        assert(told.some((text) => text.includes("EMFILE")), told.join());
      }
      // Whatever stayed behind, the next one takes it and removes it.
      using next = StateDirectory.take(at.path);
      assertEquals([...next.overrides()], []);
      assertEquals([...Deno.readDirSync(at.path)].map(({ name }) => name), [
        "lock",
      ]);
    }
  },
});
