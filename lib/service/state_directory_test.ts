/**
 * Tests of the state directory as the daemon uses it, while commands use it, too.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { system } from "../platform/system_testing.ts";
import { SystemError } from "../errors.ts";
import { boottimeSeconds } from "../../ffi/clock.ts";
import { File } from "../../ffi/file.ts";
import "../../ffi/testing.ts";
import { RcapError } from "../errors.ts";
import type { DaemonState } from "../group/state.ts";
import { daemonState, groupState } from "../group/testing.ts";
import { readProcess } from "../platform/linux/process_list.ts";
import { OVERRIDES, PAUSES } from "./numbers_by_name.ts";
import {
  holderOf,
  readState,
  StateDirectory,
  writeByHand,
} from "./state_directory.ts";

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

  /** Waits until it has started. */
  async begun(): Promise<void> {
    const reader = this.#child.stdout.getReader();
    const { value } = await reader.read();
    assertEquals(new TextDecoder().decode(value), "sets\n");
    await reader.cancel();
  }

  /** Whether it still runs, and so has not failed. */
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

Deno.test("caps can be read at any time while commands set and remove them", async () => {
  using at = place();
  const warnings: string[] = [];
  using directory = StateDirectory.take(
    system,
    at.path,
    (text) => warnings.push(text),
  );
  await using stack = new AsyncDisposableStack();
  // Some of the same name, so that they collide.
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
  assertEquals(warnings, []);
});

/** Uses up the descriptors of this process, except some. */
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
      const warnings: string[] = [];
      const directory = StateDirectory.take(
        system,
        at.path,
        (text) => warnings.push(text),
      );
      writeByHand(system, at.path, OVERRIDES, { name: "one", value: 8192 });
      assertEquals([...directory.overrides()], [["one", 8192]]);
      directory.write(daemonState());
      writeByHand(system, at.path, OVERRIDES, { name: "two", value: 8192 });
      withoutDescriptors(left, () => {
        const names = [...directory.overrides().keys()];
        assertEquals(names.includes("one"), true, `${left} left: ${names}`);
        directory[Symbol.dispose]();
      });
      if (left === 0) {
        assert(
          warnings.some((text) => text.includes("EMFILE")),
          warnings.join(),
        );
      }
      // The next one takes the directory and removes what is left.
      using next = StateDirectory.take(system, at.path);
      assertEquals([...next.overrides()], []);
      assertEquals([...Deno.readDirSync(at.path)].map(({ name }) => name), [
        "lock",
      ]);
    }
  },
});

/** The state of a daemon, which is this process. */
function ownState(given: Partial<DaemonState> = {}): DaemonState {
  return daemonState({
    pid: Deno.pid,
    startTime: readProcess(Deno.pid).startTime,
    monotonic: boottimeSeconds(),
    ...given,
  });
}

Deno.test("everyone reads the state that a daemon writes, until it ends", () => {
  using at = place();
  assertThrows(
    () => readState(system, at.path),
    RcapError,
    "rcap is not running",
  );
  const directory = StateDirectory.take(system, at.path);
  assertThrows(
    () => readState(system, at.path),
    RcapError,
    "rcap is not running",
  );
  const first = ownState({ groups: [groupState({ name: "a" })] });
  directory.write(first);
  const read = readState(system, at.path);
  assertEquals(read.groups, first.groups);
  directory.write(ownState({ pagedata: "smaps" }));
  assertEquals(readState(system, at.path).pagedata, "smaps");
  assertEquals(namesIn(at.path), ["lock", "state.json"]);
  assertEquals(Deno.statSync(`${at.path}/state.json`).mode! & 0o777, 0o644);
  writeByHand(system, at.path, OVERRIDES, { name: "a", value: 4096 });
  directory[Symbol.dispose]();
  assertEquals(namesIn(at.path), ["lock"]);
  assertThrows(
    () => readState(system, at.path),
    RcapError,
    `rcap is not running with the state directory ${at.path}; start it with: rcap run`,
  );
});

function namesIn(path: string): string[] {
  return [...Deno.readDirSync(path)].map(({ name }) => name).sort();
}

Deno.test("a stale state is reported", () => {
  using at = place();
  using directory = StateDirectory.take(system, at.path);
  const written = (secondsAgo: number, reportInterval: number) =>
    directory.write(ownState({
      monotonic: boottimeSeconds() - secondsAgo,
      reportInterval,
    }));
  written(9, 1);
  readState(system, at.path);
  written(25, 10);
  readState(system, at.path);
  written(31, 10);
  assertThrows(
    () => readState(system, at.path),
    RcapError,
    `rcap is not running as it should: process ${Deno.pid} has not written its state for 31 s`,
  );
});

Deno.test("a state is ignored if its process has ended, or its pid is another's", async () => {
  using at = place();
  using directory = StateDirectory.take(system, at.path);
  directory.write(ownState({ startTime: 1 }));
  assertThrows(
    () => readState(system, at.path),
    RcapError,
    "rcap is not running",
  );
  const child = new Deno.Command("true").spawn();
  await child.status;
  directory.write(ownState({ pid: child.pid }));
  assertThrows(
    () => readState(system, at.path),
    RcapError,
    "rcap is not running",
  );
});

Deno.test("a directory has one daemon at a time", () => {
  using at = place();
  const first = StateDirectory.take(system, at.path);
  assertEquals(holderOf(system, at.path), Deno.pid);
  assertThrows(
    () => StateDirectory.take(system, at.path),
    RcapError,
    `rcap is already running as process ${Deno.pid}, with the state directory ${at.path}; stop it, or choose another with --state-dir`,
  );
  first[Symbol.dispose]();
  assertEquals(holderOf(system, at.path), undefined);
  using _second = StateDirectory.take(system, at.path);
});

Deno.test("a cap is set by hand and removed, whatever the name of its group", () => {
  using at = place();
  using directory = StateDirectory.take(system, at.path);
  const names = ["plain", "with space", "a/b", "x..y", "%41", "user@1000"];
  for (const [index, name] of names.entries()) {
    writeByHand(system, at.path, OVERRIDES, {
      name,
      value: (index + 1) * 4096,
    });
  }
  assertEquals(
    [...directory.overrides()].sort(([, a], [, b]) => a - b),
    names.map((name, index) => [name, (index + 1) * 4096]),
  );
  writeByHand(system, at.path, OVERRIDES, { name: "a/b", value: 8192 });
  assertEquals(directory.overrides().get("a/b"), 8192);
  for (const name of names) {
    writeByHand(system, at.path, OVERRIDES, { name, value: undefined });
  }
  writeByHand(system, at.path, OVERRIDES, {
    name: "never set",
    value: undefined,
  });
  assertEquals(directory.overrides().size, 0);
});

Deno.test("a pause outlasts the daemon until its end, and a cap does not", () => {
  using at = place();
  const now = Math.floor(Date.now() / 1000);
  const pause = (name: string, value: number | undefined) =>
    writeByHand(system, at.path, PAUSES, { name, value });
  {
    using directory = StateDirectory.take(system, at.path);
    pause("long", now + 3600);
    pause("over", now - 1);
    pause("ended", now + 3600);
    pause("ended", undefined);
    writeByHand(system, at.path, OVERRIDES, { name: "long", value: 4096 });
    assertEquals(directory.pauses().get("long"), now + 3600);
    assertEquals(directory.pauses().has("ended"), false);
  }
  const names = () =>
    Array.from(Deno.readDirSync(at.path), ({ name }) => name).sort();
  assertEquals(names(), ["lock", "pauses"]);
  {
    using next = StateDirectory.take(system, at.path);
    assertEquals([...next.pauses()], [["long", now + 3600]]);
    assertEquals([...next.overrides()], []);
    pause("long", undefined);
  }
  assertEquals(names(), ["lock"]);
});

Deno.test("a file that is not a cap set by hand causes one warning, and the others count", () => {
  using at = place();
  const warnings: string[] = [];
  using directory = StateDirectory.take(
    system,
    at.path,
    (text) => warnings.push(text),
  );
  writeByHand(system, at.path, OVERRIDES, { name: "good", value: 4096 });
  for (
    const text of ["many", "-1\n", "4096", "0\n", "99999999999999999999\n"]
  ) {
    Deno.writeTextFileSync(`${at.path}/overrides/bad`, text, { mode: 0o644 });
    assertEquals([...directory.overrides()], [["good", 4096]], text);
  }
  assertEquals(warnings, [
    `${at.path}/overrides/bad is not a cap set by hand (it does not hold a number of bytes); remove it`,
  ]);
});

Deno.test("a daemon removes what a killed one has left", () => {
  using at = place();
  StateDirectory.take(system, at.path)[Symbol.dispose]();
  Deno.writeTextFileSync(`${at.path}/state.json`, "{}");
  Deno.writeTextFileSync(`${at.path}/state.json~`, "{");
  writeByHand(system, at.path, OVERRIDES, { name: "a", value: 4096 });
  using directory = StateDirectory.take(system, at.path);
  assertEquals(namesIn(at.path), ["lock"]);
  assertEquals(directory.overrides().size, 0);
});

Deno.test("a directory that others can write to is not taken", () => {
  using at = place();
  Deno.mkdirSync(at.path);
  Deno.chmodSync(at.path, 0o777);
  assertThrows(
    () => StateDirectory.take(system, at.path),
    RcapError,
    `the state directory ${at.path} cannot be trusted`,
  );
});
