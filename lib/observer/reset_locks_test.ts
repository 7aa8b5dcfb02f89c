/**
 * Tests of the locks on processes, between processes.
 *
 * @module
 */

import "../../tests/support/deadline.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { linuxByteLocks, linuxFiles } from "../../ffi/linux_files.ts";
import { RcapError } from "../errors.ts";
import type { ProcessId } from "../platform/platform.ts";
import { ResetLocks } from "./reset_locks.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

const CHILD =
  new URL("../../tests/support/observer_child.ts", import.meta.url).pathname;
const SYSTEM = { files: linuxFiles, processSpace: () => "pid:[7]" };

/** A folder for locks; disposing removes it. */
class Folder implements Disposable {
  readonly #folder = Deno.makeTempDirSync({ prefix: "rcap-locks-" });
  readonly path = `${this.#folder}/observers`;

  open(): ResetLocks {
    const locks = linuxByteLocks;
    return new ResetLocks(SYSTEM, { directory: this.path, locks });
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.#folder, { recursive: true });
  }
}

/** Another process that takes the lock on a process; disposing kills it. */
async function start({ path }: Folder, { pid, startTime }: ProcessId) {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", CHILD, path, `${pid}`, `${startTime}`],
    stdout: "piped",
    stdin: "null",
  }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  return {
    pid: child.pid,
    /** The holder, or 0 if it has the lock. */
    holder: Number(new TextDecoder().decode(value)),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.status;
      await reader.cancel();
    },
  };
}

const ONE = { pid: 4242, startTime: 2 ** 40 + 1 };

Deno.test("one rcap at a time has the lock on a process, and a killed one does not", async () => {
  using folder = new Folder();
  using locks = folder.open();
  {
    await using other = await start(folder, ONE);
    assertEquals(other.holder, 0);
    assertEquals(locks.take(ONE), other.pid);
    assertEquals(locks.holds(ONE), false);
    // Neither another process, nor one that has had or will have that pid.
    assertEquals(locks.take({ ...ONE, pid: 4243 }), undefined);
    assertEquals(
      locks.take({ ...ONE, startTime: ONE.startTime + 1 }),
      undefined,
    );
  }
  assertEquals(locks.take(ONE), undefined);
  assertEquals(locks.holds(ONE), true);
  await using third = await start(folder, ONE);
  assertEquals(third.holder, Deno.pid);
  locks.release(ONE);
  await using fourth = await start(folder, ONE);
  assertEquals(fourth.holder, 0);
});

Deno.test("locks are kept where others look for them when the directory is removed", async () => {
  using folder = new Folder();
  using locks = folder.open();
  assertEquals(locks.take(ONE), undefined);
  Deno.removeSync(folder.path, { recursive: true });
  const two = { pid: 2, startTime: 2 };
  assertEquals(locks.take(two), undefined);
  await using other = await start(folder, ONE);
  assertEquals(other.holder, Deno.pid);
});

Deno.test("a lock that another took meanwhile is not held any more", async () => {
  using folder = new Folder();
  using locks = folder.open();
  assertEquals(locks.take(ONE), undefined);
  Deno.removeSync(folder.path, { recursive: true });
  await using other = await start(folder, ONE);
  assertEquals(other.holder, 0);
  assertEquals(locks.take({ pid: 2, startTime: 2 }), undefined);
  assertEquals(locks.holds(ONE), false);
  assertEquals(locks.take(ONE), other.pid);
});

Deno.test("nobody but their owner can open the locks", () => {
  using folder = new Folder();
  {
    using _ = folder.open();
    assertEquals(Deno.statSync(folder.path).mode! & 0o777, 0o700);
    assertEquals(Deno.statSync(`${folder.path}/locks`).mode! & 0o777, 0o600);
  }
  Deno.chmodSync(folder.path, 0o755);
  assertThrows(() => folder.open(), RcapError, "chmod 700");
});

Deno.test("without a place for locks, or access to it, there are none", () => {
  const errors: string[] = [];
  const explain = ({ message }: RcapError) => errors.push(message);
  assertEquals(ResetLocks.open(SYSTEM, explain), undefined);
  assertEquals(errors, []);
  const observers = { directory: "/proc/observers", locks: linuxByteLocks };
  assertEquals(ResetLocks.open({ ...SYSTEM, observers }, explain), undefined);
  assertEquals(errors.length, 1);
});

Deno.test("sockets are told apart by pid and by pid namespace", () => {
  using folder = new Folder();
  using locks = folder.open();
  assertEquals(locks.socketOf(12), `${folder.path}/socket-7-12`);
  for (const name of ["socket-7-12", "socket-8-13", "socket-7-x"]) {
    Deno.writeTextFileSync(`${folder.path}/${name}`, "");
  }
  assertEquals(locks.socketPids(), [12]);
  locks.removeSocket(12);
  locks.removeSocket(14);
  assertEquals(locks.socketPids(), []);
});
