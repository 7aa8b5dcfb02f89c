/**
 * Tests of notifications to the service manager, over real datagram sockets.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { system } from "../platform/system_testing.ts";
import { monotonicMicroseconds } from "../../ffi/clock.ts";
import "../../ffi/testing.ts";
import { Notifier, type NOTIFY_ENVIRONMENT } from "./notify.ts";

/** How long a message may take on a busy machine, in milliseconds. */
const PATIENCE_MS = 30_000;

// Prints one line per datagram, with "|" between the lines of the datagram.
// With a number, it starts to read after that many seconds.
const RECEIVER = `
use strict;
use warnings;
use Socket;
my ($name, $delay) = @ARGV;
$name =~ s/^@/\\0/;
socket(my $socket, AF_UNIX, SOCK_DGRAM, 0) or die "socket: $!";
bind($socket, pack_sockaddr_un($name)) or die "bind: $!";
$| = 1;
print "bound\\n";
sleep $delay if $delay;
while (defined recv($socket, my $text, 65536, 0)) {
  $text =~ s/\\n/|/g;
  print "$text\\n";
}
`;

/** A socket that receives datagrams, in a process of its own. */
class Receiver implements AsyncDisposable {
  readonly address: string;
  readonly #child: Deno.ChildProcess;
  readonly #chunks: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();
  #text = "";

  private constructor(address: string, delay: number) {
    this.address = address;
    this.#child = new Deno.Command("perl", {
      args: ["-e", RECEIVER, address, `${delay}`],
      stdin: "null",
      stdout: "piped",
    }).spawn();
    this.#chunks = this.#child.stdout.getReader();
  }

  static async start(address: string, delay = 0): Promise<Receiver> {
    const receiver = new Receiver(address, delay);
    assertEquals(await receiver.next(), "bound");
    return receiver;
  }

  /** The next message. */
  async next(): Promise<string> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      const { value, done } = await soon(this.#chunks.read());
      if (done) throw new Error("the receiver has ended");
      this.#text += this.#decoder.decode(value, { stream: true });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
    await this.#chunks.cancel();
  }
}

/** Awaits a result, unless it takes too long. */
async function soon<T>(promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("too late")), PATIENCE_MS);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A path for a socket, in a directory that is removed when disposed. */
function socketPath(): Disposable & { readonly path: string } {
  const directory = Deno.makeTempDirSync();
  return {
    path: `${directory}/notify`,
    [Symbol.dispose]: () => Deno.removeSync(directory, { recursive: true }),
  };
}

type Environment = Partial<Record<typeof NOTIFY_ENVIRONMENT[number], string>>;

/** A notifier in an environment, and its warnings. */
function notifierIn(environment: Environment) {
  const warnings: string[] = [];
  const notifier = Notifier.fromEnvironment({
    systemd: system.systemd,
    env: (name) => environment[name],
    warn: (message) => warnings.push(message),
  });
  return { notifier, warnings };
}

/** Sends every kind of notification. */
function sayAll(notifier: Notifier): void {
  notifier.ready();
  notifier.reloading();
  notifier.status("well");
  notifier.watchdog();
  notifier.stopping();
}

for (const kind of ["a path", "an abstract name"]) {
  Deno.test(`the service manager at ${kind} gets one datagram per notification`, async () => {
    using place = socketPath();
    const address = kind === "a path"
      ? place.path
      : `@rcap/test/${crypto.randomUUID()}`;
    await using receiver = await Receiver.start(address);
    const { notifier, warnings } = notifierIn({ NOTIFY_SOCKET: address });
    using _notifier = notifier;

    notifier.ready("watching 2 groups");
    assertEquals(
      await receiver.next(),
      "READY=1|STATUS=watching 2 groups",
    );
    notifier.watchdog();
    assertEquals(await receiver.next(), "WATCHDOG=1");
    const before = monotonicMicroseconds();
    notifier.reloading();
    const reloading = await receiver.next();
    assertMatch(reloading, /^RELOADING=1\|MONOTONIC_USEC=\d+$/);
    const at = BigInt(reloading.split("=")[2]);
    assert(before <= at && at <= monotonicMicroseconds(), reloading);
    notifier.ready();
    assertEquals(await receiver.next(), "READY=1");
    notifier.status("größe\nREADY=1\n\tat all");
    assertEquals(await receiver.next(), "STATUS=größe READY=1 at all");
    notifier.status("a\x1b]0;b\x07\u202e\x9b\0c\ud800 d");
    assertEquals(
      await receiver.next(),
      "STATUS=a\\x1b]0;b\\x07\\u202e\\x9b\\x00c\\ud800 d",
    );
    notifier.stopping();
    assertEquals(await receiver.next(), "STOPPING=1");
    assertEquals(warnings, []);
  });
}

Deno.test("notifications wait for a full socket, and arrive in order", async () => {
  using place = socketPath();
  await using receiver = await Receiver.start(place.path, 1);
  const { notifier, warnings } = notifierIn({ NOTIFY_SOCKET: place.path });
  using _notifier = notifier;
  // More than the socket holds: net.unix.max_dgram_qlen.
  const queue = Number(
    Deno.readTextFileSync("/proc/sys/net/unix/max_dgram_qlen"),
  );
  const count = queue + 20;
  for (let i = 0; i < count; i++) notifier.status(`${i}`);
  notifier.watchdog();
  notifier.ready();
  for (let i = 0; i < count; i++) {
    assertEquals(await receiver.next(), `STATUS=${i}`);
  }
  assertEquals(await receiver.next(), "READY=1");
  assertEquals(warnings, []);
});

Deno.test("without a service manager nothing is sent", () => {
  for (const environment of [{}, { NOTIFY_SOCKET: "" }]) {
    const { notifier, warnings } = notifierIn({
      ...environment,
      WATCHDOG_USEC: "2000000",
    });
    using _notifier = notifier;
    sayAll(notifier);
    assertEquals(warnings, []);
    assertEquals(notifier.watchdogInterval, undefined);
  }
});

Deno.test("a service manager that is missing or has gone causes one warning", async () => {
  using place = socketPath();
  const gone = notifierIn({ NOTIFY_SOCKET: place.path });
  using _gone = gone.notifier;
  sayAll(gone.notifier);
  assertEquals(gone.warnings, [
    "the service manager cannot be notified: send: No such file or directory (ENOENT)",
  ]);

  const vanished = notifierIn({ NOTIFY_SOCKET: place.path });
  using _vanished = vanished.notifier;
  {
    await using receiver = await Receiver.start(place.path);
    vanished.notifier.ready();
    assertEquals(await receiver.next(), "READY=1");
  }
  sayAll(vanished.notifier);
  sayAll(vanished.notifier);
  assertEquals(vanished.warnings.length, 1);
  assertMatch(vanished.warnings[0], /Connection refused/);

  // A service manager that comes back gets notifications again.
  Deno.removeSync(place.path);
  await using receiver = await Receiver.start(place.path);
  vanished.notifier.watchdog();
  assertEquals(await receiver.next(), "WATCHDOG=1");
});

Deno.test("an invalid address causes one warning", () => {
  const addresses = ["@", "notify", "vsock:2:1234", `/${"x".repeat(200)}`];
  for (const address of addresses) {
    const { notifier, warnings } = notifierIn({ NOTIFY_SOCKET: address });
    using _notifier = notifier;
    sayAll(notifier);
    assertEquals(warnings, [
      `the service manager cannot be notified: socket address "${address}": Invalid argument (EINVAL)`,
    ]);
  }
});

Deno.test("the watchdog interval is half the timeout, and only for the process it names", () => {
  const interval = (environment: Environment) => {
    const { notifier } = notifierIn({ NOTIFY_SOCKET: "@x", ...environment });
    using _notifier = notifier;
    return notifier.watchdogInterval;
  };
  const WATCHDOG_USEC = "30000000";
  assertEquals(interval({ WATCHDOG_USEC }), 15_000);
  assertEquals(
    interval({ WATCHDOG_USEC, WATCHDOG_PID: `${Deno.pid}` }),
    15_000,
  );
  assertEquals(interval({ WATCHDOG_USEC, WATCHDOG_PID: "1" }), undefined);
  assertEquals(interval({ WATCHDOG_USEC: "1" }), 1);
  assertEquals(interval({ WATCHDOG_USEC: "9".repeat(18) }), 2 ** 31 - 1);
  for (const value of ["", "0", "-1", "1s", "x"]) {
    assertEquals(interval({ WATCHDOG_USEC: value }), undefined);
  }
  assertEquals(interval({}), undefined);
});
