/**
 * Tests of users by name with a name service that is slow or fails: a source of its
 * own, which nsswitch.conf(5) names in a mount namespace.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { cap, QUICKLY, TestDaemon } from "../support/daemon.ts";
import { requireRoot } from "../support/live.ts";
import { rcap, startRcap } from "../support/rcap.ts";
import { until, Workload } from "../support/workload.ts";

requireRoot();

/** A user without a name. */
const SOMEONE = 54_341;

/** Time limit of every step, in milliseconds. */
const DEADLINE = 60_000;

/** A scripted name service; removed on disposal. */
class NameService implements Disposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "rcap-names-" });

  static async make(): Promise<NameService> {
    const service = new NameService();
    Deno.writeTextFileSync(
      `${service.folder}/nsswitch.conf`,
      "passwd: files rcaptest\n",
    );
    const { success, stderr } = await new Deno.Command("cc", {
      args: [
        ...["-O1", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror"],
        new URL("../fixtures/name_service.c", import.meta.url).pathname,
        "-o",
        `${service.folder}/libnss_rcaptest.so.2`,
      ],
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    return service;
  }

  /** Sets its behaviour: see `fixtures/name_service.c`. */
  says(word: string): void {
    const path = `${this.folder}/names`;
    Deno.writeTextFileSync(`${path}.new`, word);
    Deno.renameSync(`${path}.new`, path);
  }

  /** The command that runs rcap with it. */
  get options() {
    return {
      prefix: [
        "unshare",
        "--mount",
        "sh",
        "-ec",
        'mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf; exec "$@"',
        this.folder,
      ],
      env: {
        LD_LIBRARY_PATH: this.folder,
        RCAP_TEST_NAMES: `${this.folder}/names`,
      },
    };
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder, { recursive: true });
  }
}

const scan = (selector: string) => [
  ...["scan", selector, "--dry-run", "--cap", "1P", "-H", "-o", "pid"],
];

/** The message about a user that the name service has not answered. */
const untold = (user: string) =>
  `the name service did not resolve user "${user}" (`;

Deno.test("a user is resolved by the name service, however long its answer is", async () => {
  using names = await NameService.make();
  await using workload = await Workload.start({ uid: SOMEONE });
  names.says(`${SOMEONE}`);
  const found = await rcap(scan("user:whoever"), names.options);
  assertEquals(found.stdout, `${workload.pid}\n`, found.stderr);

  names.says("none");
  const none = await rcap(scan("user:whoever"), names.options);
  assertEquals(none.code, 2, none.stderr);
  assert(none.stderr.includes('there is no user "whoever"'), none.stderr);

  // Answers of earlier sources are reliable.
  names.says("fail");
  const root = await rcap(scan("user:root"), names.options);
  assertEquals(root.code, 0, root.stderr);
});

Deno.test("a number is a user's name first, and a uid if there is no such user", async () => {
  using names = await NameService.make();
  await using workload = await Workload.start({ uid: SOMEONE });
  await using other = await Workload.start({ uid: SOMEONE + 1 });
  const number = `${SOMEONE + 1}`;
  // A user whose name is the other's uid.
  names.says(`${SOMEONE}`);
  const named = await rcap(scan(`user:${number}`), names.options);
  assertEquals([named.stdout, named.stderr], [`${workload.pid}\n`, ""]);
  const exact = await rcap(scan(`user:+${number}`), names.options);
  assertEquals([exact.stdout, exact.stderr], [`${other.pid}\n`, ""]);

  names.says("none");
  const plain = await rcap(scan(`user:${number}`), names.options);
  assertEquals([plain.stdout, plain.stderr], [`${other.pid}\n`, ""]);

  names.says("fail");
  const unknown = await rcap(scan(`user:${number}`), names.options);
  assertEquals(unknown.stdout, `${other.pid}\n`);
  assert(
    new RegExp(
      `warning: the name service did not resolve user "${number}" \\(.*\\); uid ${number} is used\n`,
    ).test(unknown.stderr),
    unknown.stderr,
  );
  const config = `${names.folder}/rcap.toml`;
  Deno.writeTextFileSync(config, cap("a", [`user:${number}`], "1G"));
  const check = await rcap(["check", "--config", config], names.options);
  assertEquals(check.code, 0, check.stderr);
  assert(check.stderr.includes(`uid ${number} is used`), check.stderr);
});

Deno.test("a failed lookup is not reported as a missing user", async () => {
  using names = await NameService.make();
  names.says("fail");
  const config = `${names.folder}/rcap.toml`;
  Deno.writeTextFileSync(config, cap("a", ["user:whoever"], "1G"));
  for (
    const args of [scan("user:whoever"), ["check", "--config", config], [
      ...["run", "--once", "--config", config],
      ...["--state-dir", `${names.folder}/state`],
    ]]
  ) {
    const { code, stderr } = await rcap(args, names.options);
    assertEquals(code, 1, stderr);
    assert(stderr.includes(untold("whoever")), stderr);
    assert(stderr.includes("try again, or write the uid"), stderr);
    assert(!stderr.includes("there is no user"), stderr);
  }
});

Deno.test("a name service that does not answer does not block a command", async () => {
  using names = await NameService.make();
  names.says("hang");
  const began = performance.now();
  const { code, stderr } = await rcap(scan("user:whoever"), names.options);
  assertEquals(code, 1, stderr);
  assert(
    stderr.includes(`${untold("whoever")}no answer within 5 s); try again`),
    stderr,
  );
  assert(performance.now() - began < DEADLINE);

  // Nor does it block a signal.
  const running = startRcap(scan("user:whoever"), names.options);
  const timer = setTimeout(() => running.child.kill("SIGKILL"), DEADLINE);
  await until(() => handlesSignals(running.child.pid), "rcap to begin");
  await new Promise((resolve) => setTimeout(resolve, 500));
  const told = performance.now();
  running.child.kill("SIGTERM");
  const ended = await running.end();
  clearTimeout(timer);
  assertEquals(ended.code, 143, ended.stderr);
  assert(performance.now() - told < 4000, "before the lookup is given up");
});

/** Whether a process handles SIGTERM: `SigCgt` of proc_pid_status(5). */
function handlesSignals(pid: number): boolean {
  const caught = /^SigCgt:\s*([0-9a-f]+)$/m.exec(
    Deno.readTextFileSync(`/proc/${pid}/status`),
  )?.[1] ?? "0";
  return (BigInt(`0x${caught}`) >> 14n & 1n) === 1n;
}

Deno.test("while the name service does not answer, the daemon uses earlier answers", async () => {
  using names = await NameService.make();
  await using workload = await Workload.start({ uid: SOMEONE });
  names.says(`${SOMEONE}`);
  const config = QUICKLY + cap("a", ["user:whoever"], "1P");
  await using daemon = await TestDaemon.start({ config, ...names.options });
  await daemon.untilGroup(
    "a",
    ({ processes }) => processes === 1,
    "a member",
  );

  for (const word of ["hang", "fail"]) {
    names.says(word);
    const { serial } = daemon.state().configuration;
    const { samples } = daemon.group("a").statistics;
    Deno.writeTextFileSync(daemon.place.config, `${config}# ${word}\n`);
    daemon.signal("SIGHUP");
    // It continues during the wait, and afterwards with earlier answers.
    await daemon.untilGroup(
      "a",
      ({ statistics }) => statistics.samples > samples + 2,
      `the loop to go on (${word})`,
      DEADLINE,
    );
    await until(
      () => daemon.state().configuration.serial > serial,
      `the configuration to be loaded (${word})`,
      DEADLINE,
    );
    assertEquals(daemon.state().configuration.problems, []);
    assertEquals(daemon.group("a").processes, 1);
  }

  // It does not invent users that it never knew.
  const { serial } = daemon.state().configuration;
  Deno.writeTextFileSync(
    daemon.place.config,
    config + cap("b", ["user:somebody"], "1P"),
  );
  daemon.signal("SIGHUP");
  await until(
    () => daemon.state().configuration.serial > serial,
    "the configuration to be refused",
    DEADLINE,
  );
  const [problem] = daemon.state().configuration.problems;
  assert(problem.includes(untold("somebody")), problem);
  assertEquals(daemon.group("a").processes, 1);

  // When the name service is back, the configuration is loaded without a request.
  names.says(`${SOMEONE + 1}`);
  await daemon.untilGroup("b", () => true, "the new cap", DEADLINE);
  await daemon.untilGroup(
    "a",
    ({ processes }) => processes === 0,
    "the user to be another",
    DEADLINE,
  );
  assert(workload.pid > 0);

  names.says("hang");
  Deno.writeTextFileSync(daemon.place.config, `${config}# end\n`);
  daemon.signal("SIGHUP");
  await new Promise((resolve) => setTimeout(resolve, 500));
  const told = performance.now();
  const { code, stderr } = await daemon.stop();
  assertEquals(code, 0, stderr);
  assert(performance.now() - told < 4000, "before the lookup is given up");
  const warning = `${untold("whoever")}`;
  assert(stderr.includes(warning), stderr);
  assert(stderr.includes(`uid ${SOMEONE} is used, as before`), stderr);
});
