/**
 * Tests of commands that borrow references from a daemon, over a real socket.
 *
 * @module
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ProcessError } from "../errors.ts";
import {
  type CommandLocks,
  CommandRights,
} from "../observer/command_rights.ts";
import type { Answer } from "../observer/lease_protocol.ts";
import { keyOf, ObservedElsewhere } from "../observer/reset_rights.ts";
import type { ProcessId } from "../platform/platform.ts";
import { LeaseServer, type LeaseServerOptions } from "./lease_server.ts";

const ONE = { pid: 1, startTime: 10 };

/** The pid of the daemon of these tests. */
const DAEMON = 77;

/** Waits until a condition holds. */
async function until(condition: () => boolean): Promise<void> {
  const began = performance.now();
  while (!condition()) {
    assert(performance.now() - began < 10_000, "it takes too long");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A command, and a daemon that holds the lock on every process while it runs. */
class Scene implements AsyncDisposable {
  /** The holder of all locks besides the command. */
  holder: number | undefined = DAEMON;
  answer: Answer = "granted";
  readonly asked: string[] = [];
  readonly lent = new Set<string>();
  readonly told: string[] = [];
  readonly rights: CommandRights;
  readonly #folder = Deno.makeTempDirSync({ prefix: "rcap-borrow-" });
  readonly #mine = new Set<string>();
  #server: LeaseServer | undefined;

  constructor(limits: LeaseServerOptions["limits"] = {}) {
    this.#server = new LeaseServer({
      path: this.#pathOf(DAEMON),
      lend: (id) => {
        this.asked.push(keyOf(id));
        if (this.answer === "granted") this.lent.add(keyOf(id));
        return Promise.resolve(this.answer);
      },
      takeBack: (id) => this.lent.delete(keyOf(id)),
      warn: (text) => this.told.push(text),
      limits,
    });
    // The time that a command waits passes at once.
    const clock = { now: () => 0, wallTime: () => 0, sleep: () => pause(1) };
    this.rights = new CommandRights({
      locks: this.#locks(),
      signal: new AbortController().signal,
      info: (text) => this.told.push(text),
      clock,
    });
  }

  #pathOf(pid: number): string {
    return `${this.#folder}/${pid}`;
  }

  #locks(): CommandLocks {
    return {
      take: (id: ProcessId) => {
        if (this.#mine.has(keyOf(id))) return undefined;
        if (this.holder === undefined) this.#mine.add(keyOf(id));
        return this.holder;
      },
      holds: (id) => this.#mine.has(keyOf(id)),
      release: (id) => this.#mine.delete(keyOf(id)),
      socketOf: (pid) => this.#pathOf(pid),
      [Symbol.dispose]: () => {},
    };
  }

  /** Ends the daemon, whose locks another process has from then on. */
  async end(next: number | undefined): Promise<void> {
    this.holder = next;
    await this.#server?.[Symbol.asyncDispose]();
    this.#server = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.rights[Symbol.dispose]();
    await this.end(undefined);
    Deno.removeSync(this.#folder, { recursive: true });
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

Deno.test("a command locks what nobody observes", async () => {
  await using scene = new Scene();
  scene.holder = undefined;
  assertEquals(await scene.rights.take(ONE), true);
  assertEquals(scene.rights.owns(ONE), true);
  scene.rights.release(ONE);
  assertEquals(scene.rights.owns(ONE), false);
  assertEquals(scene.asked, []);
});

Deno.test("a command asks the daemon each time that references are to be reset", async () => {
  await using scene = new Scene();
  const { rights } = scene;
  assertEquals(await rights.take(ONE), false);
  assertEquals(rights.owns(ONE), false);
  assertEquals(await rights.take(ONE), false);
  assertEquals(scene.asked, ["1 10", "1 10"]);
  assertEquals(scene.told, [
    "rcap (process 77) observes process 1, and lends its references",
  ]);
  rights.release(ONE);
  await until(() => scene.lent.size === 0);
});

Deno.test("a process that the daemon cannot read is an error", async () => {
  await using scene = new Scene();
  scene.answer = "failed";
  await assertRejects(
    () => scene.rights.take(ONE),
    ProcessError,
    "rcap (process 77) observes process 1, and cannot read it",
  );
});

Deno.test("a lock that becomes free while the command waits is taken", async () => {
  await using scene = new Scene();
  scene.answer = "free";
  const taking = scene.rights.take(ONE);
  await until(() => scene.asked.length > 2);
  scene.holder = undefined;
  assertEquals(await taking, true);
});

Deno.test("a command does not wait for ever, and names the holder and the remedy", async () => {
  await using scene = new Scene();
  for (
    const [holder, message] of [
      [
        12,
        "rcap (process 12) observes process 1, and two observers would blind each other; wait until it ends, or stop it",
      ],
      [
        0,
        "an rcap in another pid namespace observes process 1, and two observers would blind each other; run this command there",
      ],
    ] as const
  ) {
    scene.holder = holder;
    const error = await assertRejects(
      () => scene.rights.take(ONE),
      ObservedElsewhere,
    );
    assertEquals(error.message, message);
    assertEquals(error.exitCode, 1);
  }
});

Deno.test("references that are taken back cannot be read any more", async () => {
  await using scene = new Scene({ leaseTime: 30 });
  const { rights } = scene;
  await rights.take(ONE);
  await until(() => scene.lent.size === 0);
  await pause(20);
  assertThrows(() => rights.owns(ONE), ObservedElsewhere, "for too long");
  await assertRejects(() => rights.take(ONE), ObservedElsewhere);
});

Deno.test("a command goes on by itself when the daemon has ended", async () => {
  await using scene = new Scene();
  const { rights } = scene;
  await rights.take(ONE);
  await scene.end(undefined);
  await until(() => rights.owns(ONE));
  assertEquals(await rights.take(ONE), true);
});

Deno.test("a command fails if another rcap was faster", async () => {
  await using scene = new Scene();
  const { rights } = scene;
  await rights.take(ONE);
  await scene.end(78);
  await pause(50);
  assertThrows(
    () => rights.owns(ONE),
    ObservedElsewhere,
    "another rcap resets them now",
  );
});
