/**
 * Tests of processes that the daemon leaves alone, and of the daemon while it
 * cannot determine membership. Nothing is paged out: no group is near its cap.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Cgroup, cgroupMounts, uniqueWord } from "../support/cgroups.ts";
import { cap, QUICKLY, TestDaemon } from "../support/daemon.ts";
import { requireRoot } from "../support/live.ts";
import { rcap } from "../support/rcap.ts";
import { Workload } from "../support/workload.ts";

requireRoot();

/** A user without a name. */
const SOMEONE = 54_345;

const calls = Deno.dlopen("libc.so.6", {
  prlimit: { parameters: ["i32", "i32", "buffer", "buffer"], result: "i32" },
  setxattr: {
    parameters: ["buffer", "buffer", "buffer", "usize", "i32"],
    result: "i32",
  },
}).symbols;

const cString = (text: string) => new TextEncoder().encode(`${text}\0`);

Deno.test("a process that is left alone belongs to no group, and is reported", async () => {
  const [mount] = cgroupMounts();
  assert(mount, "mount a hierarchy of cgroups");
  await using cgroup = new Cgroup(mount.path, uniqueWord());
  const { path } = cgroup;
  await using avoided = await Workload.start({ uid: SOMEONE });
  await using other = await Workload.start({ uid: SOMEONE });
  cgroup.put(avoided);
  await using daemon = await TestDaemon.start({
    config: QUICKLY + cap("a", [`user:${SOMEONE}`], "1P"),
    args: ["--metrics", "127.0.0.1:0"],
  });
  await daemon.untilGroup("a", ({ processes }) => processes === 2, "both");
  assertEquals(daemon.group("a").avoided, 0);

  const setAvoid = (value: string) =>
    assertEquals(
      calls.setxattr(
        cString(path),
        cString("user.rcap.avoid"),
        cString(value),
        BigInt(value.length),
        0,
      ),
      0,
    );
  setAvoid("1");
  await daemon.untilGroup(
    "a",
    ({ processes, avoided }) => processes === 1 && avoided === 1,
    "one process to be left alone",
  );
  const { stdout } = await rcap(["stat", "1", "1", ...daemon.place.stateArgs]);
  assert(
    stdout.includes(
      "a: 1 process is left alone, as its cgroup asks (user.rcap.avoid)\n",
    ),
    stdout,
  );
  const port = await daemon.listeningPort();
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`))
    .text();
  assert(
    /^rcap_avoided_processes\{group="a"\} 1(\.0)?$/m.test(metrics),
    metrics,
  );

  setAvoid("0");
  await daemon.untilGroup(
    "a",
    ({ processes, avoided }) => processes === 2 && avoided === 0,
    "both again",
  );
  const { stderr } = await daemon.stop();
  const told =
    `process ${avoided.pid} (perl) is left alone, as user.rcap.avoid of ${path} asks\n`;
  assertEquals(stderr.split(told).length - 1, 1, stderr);
  assert(!stderr.includes(`process ${other.pid}`), stderr);
  await avoided[Symbol.asyncDispose]();
});

Deno.test("without free descriptors, members stay, one warning says so, and /healthz fails", async () => {
  await using workload = await Workload.start({ uid: SOMEONE });
  await using daemon = await TestDaemon.start({
    config: QUICKLY + cap("a", [`user:${SOMEONE}`], "1P"),
    args: ["--metrics", "127.0.0.1:0"],
  });
  await daemon.untilGroup(
    "a",
    ({ processes }) => processes === 1,
    "a member",
  );
  // An existing connection takes no further descriptor.
  using health = await Health.connect(await daemon.listeningPort());
  assertEquals(await health.status(), 200);
  const { samples } = daemon.group("a").statistics;

  const before = limitOf(daemon.pid, 0n);
  let status = 200;
  for (let attempt = 0; attempt < 100 && status === 200; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    status = await health.status();
  }
  assertEquals(status, 503);
  assert(health.body.includes("(EMFILE)"), health.body);
  // Long enough for several passes.
  await new Promise((resolve) => setTimeout(resolve, 3000));

  limitOf(daemon.pid, before);
  await daemon.untilGroup(
    "a",
    ({ statistics }) => statistics.samples > samples,
    "samples again",
  );
  for (let attempt = 0; attempt < 100 && status !== 200; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    status = await health.status();
  }
  assertEquals(status, 200);
  const { processes, statistics } = daemon.group("a");
  assertEquals([processes, statistics.processesOut], [1, 0]);
  assert(workload.pid > 0);
  const { code, stderr } = await daemon.stop();
  assertEquals(code, 0, stderr);
  const warnings = stderr.match(/it is not known which processes belong/g);
  assertEquals(warnings?.length, 1, stderr);
  assert(
    stderr.includes("it is known again which process belongs to which cap"),
    stderr,
  );
});

/** Sets the limit of open descriptors of a process: prlimit(2). */
function limitOf(pid: number, soft: bigint): bigint {
  const RLIMIT_NOFILE = 7;
  const [before, now] = [new BigUint64Array(2), new BigUint64Array(2)];
  assertEquals(calls.prlimit(pid, RLIMIT_NOFILE, null, before), 0);
  now.set([soft, before[1]]);
  assertEquals(calls.prlimit(pid, RLIMIT_NOFILE, now, null), 0);
  return before[0];
}

/** Requests `/healthz` repeatedly over one connection. */
class Health implements Disposable {
  readonly #connection: Deno.TcpConn;
  readonly #port: number;
  body = "";

  private constructor(connection: Deno.TcpConn, port: number) {
    this.#connection = connection;
    this.#port = port;
  }

  static async connect(port: number): Promise<Health> {
    return new Health(
      await Deno.connect({ hostname: "127.0.0.1", port }),
      port,
    );
  }

  async status(): Promise<number> {
    await this.#connection.write(new TextEncoder().encode(
      `GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:${this.#port}\r\n\r\n`,
    ));
    const buffer = new Uint8Array(65536);
    const length = await this.#connection.read(buffer) ?? 0;
    const text = new TextDecoder().decode(buffer.subarray(0, length));
    this.body = text.replace(/^[^]*?\r\n\r\n/, "");
    return Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]);
  }

  [Symbol.dispose](): void {
    this.#connection.close();
  }
}
