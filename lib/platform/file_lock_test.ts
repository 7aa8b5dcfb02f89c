/**
 * Tests of locks, between processes.
 *
 * @module
 */

import { linuxFiles } from "../../ffi/linux_files.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { illumosFiles, illumosForTests } from "../../tests/support/illumos.ts";
import { RcapError, SystemError } from "../errors.ts";
import type { Entry } from "./directory.ts";
import { FileLock, lockHolder } from "./file_lock.ts";
import type { LockChildAnswer } from "../../tests/support/lock_child.ts";
import { openTrustedDirectory } from "./trusted_path.ts";
import "../../ffi/testing.ts";

const illumos = await illumosForTests();

/** The calls of every system, on the files of this one. */
const SYSTEMS = { Linux: linuxFiles, illumos: await illumosFiles() } as const;
type System = keyof typeof SYSTEMS;

/** That of the test that runs. */
let current: System = "Linux";

/** Tests something with the calls of each system, or of one. */
function testLocks(
  name: string,
  fn: () => void | Promise<void>,
  { only, ignore }: { only?: System; ignore?: boolean } = {},
): void {
  for (const system of ["Linux", "illumos"] as const) {
    if (only !== undefined && only !== system) continue;
    Deno.test({
      name: `${name} (${system})`,
      ignore,
      fn() {
        current = system;
        return fn();
      },
    });
  }
}

const CHILD =
  new URL("../../tests/support/lock_child.ts", import.meta.url).pathname;
const NOBODY = 65534;

/** A directory for a lock file that every user can enter, as with a state directory. */
class LockPlace implements Disposable {
  readonly path = Deno.makeTempDirSync();
  readonly file = `${this.path}/lock`;
  readonly directory: Entry;

  constructor() {
    Deno.chmodSync(this.path, 0o755);
    this.directory = openTrustedDirectory(SYSTEMS[current], this.path);
  }

  tryLock(): FileLock | undefined {
    return FileLock.tryLock(this.directory, "lock");
  }

  holder(): number | undefined {
    return lockHolder(this.directory, "lock");
  }

  [Symbol.dispose](): void {
    this.directory[Symbol.dispose]();
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** Another process that tries to take a lock; killed when disposed. */
class Contender implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;

  constructor(path: string, uid = Deno.uid()) {
    const words = [
      path,
      `${uid}`,
      ...current === "illumos" ? [illumos.library] : [],
    ];
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--allow-ffi", CHILD, ...words],
      stdin: "null",
      stdout: "piped",
    }).spawn();
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Its answer after it has tried. */
  async answer(): Promise<LockChildAnswer> {
    const decoder = new TextDecoder();
    let text = "";
    for await (const chunk of this.#child.stdout) {
      text += decoder.decode(chunk, { stream: true });
      if (text.endsWith("\n")) break;
    }
    return JSON.parse(text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
  }
}

testLocks("a lock keeps other processes out until it is let go", async () => {
  using place = new LockPlace();
  {
    using lock = place.tryLock();
    assert(lock);
    await using other = new Contender(place.path);
    assertEquals(await other.answer(), { holder: Deno.pid, lock: false });
  }
  assertEquals(place.holder(), undefined);
  await using other = new Contender(place.path);
  assertEquals(await other.answer(), { holder: null, lock: true });
  assertEquals(place.holder(), other.pid);
  assertEquals(place.tryLock(), undefined);
  // The attempt has not changed who holds it.
  assertEquals(place.holder(), other.pid);
});

testLocks("a killed process leaves its lock free", async () => {
  using place = new LockPlace();
  {
    await using other = new Contender(place.path);
    assertEquals((await other.answer()).lock, true);
  }
  assertEquals(place.holder(), undefined);
  using lock = place.tryLock();
  assert(lock);
});

testLocks("asking and trying again do not lose a lock of our own", async () => {
  using place = new LockPlace();
  using lock = place.tryLock();
  assert(lock);
  Deno.linkSync(place.file, `${place.path}/other`);
  for (const name of ["lock", "other"]) {
    assertEquals(lockHolder(place.directory, name), Deno.pid);
    assertEquals(FileLock.tryLock(place.directory, name), undefined);
  }
  await using other = new Contender(place.path);
  assertEquals(await other.answer(), { holder: Deno.pid, lock: false });
});

testLocks("a lock can be taken again, and letting go twice is nothing", () => {
  using place = new LockPlace();
  const first = place.tryLock();
  assert(first);
  first[Symbol.dispose]();
  using second = place.tryLock();
  assert(second);
  first[Symbol.dispose]();
  assertEquals(place.holder(), Deno.pid);
});

testLocks(
  "nobody else can lock the file, nor ask, whatever its mode was before",
  async () => {
    using place = new LockPlace();
    const words = current === "Linux"
      ? "Permission denied"
      : "permission denied";
    const denied = `open ${place.file}: ${words} (EACCES)`;
    Deno.writeTextFileSync(place.file, "", { mode: 0o644 });
    Deno.chmodSync(place.file, 0o644);
    using lock = place.tryLock();
    assert(lock);
    assertEquals(Deno.statSync(place.file).mode! & 0o777, 0o600);
    await using user = new Contender(place.path, NOBODY);
    assertEquals(await user.answer(), { holder: denied, lock: denied });
  },
  // Nobody else may become another user.
  { ignore: Deno.uid() !== 0 },
);

/** Locks a file for reading, as anyone who can read it can. */
class ReadLock implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
  }

  static async take(path: string): Promise<ReadLock> {
    // struct flock, 64-bit: l_type 0 is F_RDLCK.
    const script = `open(my $file, "<", $ARGV[0]) or die "open: $!";
      my $lock = pack("s s x4 q q i x4", 0, 0, 0, 0, 0);
      fcntl($file, 6, $lock) or die "lock: $!";
      print "locked"; close STDOUT; sleep`;
    const child = new Deno.Command("perl", {
      args: ["-e", script, path],
      uid: Deno.uid() === 0 ? NOBODY : undefined,
      stdin: "null",
      stdout: "piped",
    }).spawn();
    assertEquals(await child.stdout.text(), "locked");
    return new ReadLock(child);
  }

  get pid(): number {
    return this.#child.pid;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
  }
}

testLocks(
  "who has locked the file for reading holds nothing, and keeps nobody out",
  async () => {
    using place = new LockPlace();
    Deno.writeTextFileSync(place.file, "");
    Deno.chmodSync(place.file, 0o644);
    await using _reader = await ReadLock.take(place.file);
    assertEquals(place.holder(), undefined);
    // Left by a process that was killed at the wrong moment.
    Deno.writeTextFileSync(`${place.file}~4711`, "");
    {
      using lock = place.tryLock();
      assert(lock);
      assertEquals([...Deno.readDirSync(place.path)].map(({ name }) => name), [
        "lock",
      ]);
      assertEquals(Deno.statSync(place.file).mode! & 0o777, 0o600);
      assertEquals(place.holder(), Deno.pid);
      await using other = new Contender(place.path);
      assertEquals(await other.answer(), { holder: Deno.pid, lock: false });
    }
    await using other = new Contender(place.path);
    assertEquals((await other.answer()).lock, true);
  },
  { only: "Linux" },
);

testLocks(
  "a reader of the lock file is reported if the file cannot be replaced",
  async () => {
    using place = new LockPlace();
    Deno.writeTextFileSync(place.file, "");
    Deno.chmodSync(place.file, 0o644);
    await using reader = await ReadLock.take(place.file);
    assertEquals(place.holder(), undefined);
    assertThrows(
      () => place.tryLock(),
      RcapError,
      `process ${reader.pid} has locked ${place.file} for reading`,
    );
  },
  { only: "illumos" },
);

testLocks(
  "of several that replace the file at a time, one gets the lock",
  async () => {
    for (let round = 0; round < 3; round++) {
      using place = new LockPlace();
      Deno.writeTextFileSync(place.file, "");
      Deno.chmodSync(place.file, 0o644);
      await using _reader = await ReadLock.take(place.file);
      await using others = new AsyncDisposableStack();
      const children = [1, 2, 3].map(() =>
        others.use(new Contender(place.path))
      );
      const answers = await Promise.all(children.map((one) => one.answer()));
      const locked = answers.filter(({ lock }) => lock === true);
      assertEquals(locked.length, 1, JSON.stringify(answers));
    }
  },
  { only: "Linux" },
);

testLocks("asking takes no lock, however often", async () => {
  using place = new LockPlace();
  Deno.writeTextFileSync(place.file, "");
  await using other = new Contender(place.path);
  const answer = other.answer();
  let isOver = false;
  answer.finally(() => isOver = true);
  while (!isOver) {
    for (let i = 0; i < 100; i++) place.holder();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  assertEquals(await answer, { holder: null, lock: true });
});

testLocks(
  "nobody holds what is not there, and what is no file is an error",
  () => {
    using place = new LockPlace();
    assertEquals(place.holder(), undefined);
    Deno.mkdirSync(place.file);
    const error = assertThrows(
      () => place.tryLock(),
      SystemError,
      `open ${place.file}: Is a directory`,
    );
    assertThrows(() => place.holder(), SystemError, error.message);
    Deno.removeSync(place.file);
    Deno.symlinkSync("elsewhere", place.file);
    assertThrows(
      () => place.tryLock(),
      SystemError,
      `open ${place.file}: Too many levels of symbolic links`,
    );
    assertEquals(place.directory.names(), ["lock"]);
  },
);
