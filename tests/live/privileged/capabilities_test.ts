/**
 * Tests that the capabilities of the systemd unit are exactly those that rcap
 * needs: with all of them it works, and without any one of them it does not.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { DAEMON_CAPABILITIES } from "../../../lib/platform/linux/privileges.ts";
import {
  assertIntact,
  BRIEFLY,
  diskFile,
  MIB,
  requireRoot,
} from "../../support/live.ts";
import { commandLine, withCapabilities } from "../../support/rcap.ts";
import { pssOf, rssOf, Workload } from "../../support/workload.ts";

requireRoot();

/** A user that need not exist. */
const SOMEONE = 54_351;

type Capability = typeof DAEMON_CAPABILITIES[number];
type Source = "pte" | "smaps";

/** What does not work without a capability, and with which sources. */
const LOSSES: Readonly<
  Record<Capability, { sources: Source[]; code: number; says: RegExp }>
> = {
  CAP_BPF: {
    sources: ["pte"],
    code: 4,
    says: /--pagedata pte does not work: bpf: .+: rcap is without CAP_BPF[ ;]/,
  },
  CAP_PERFMON: {
    sources: ["pte"],
    code: 4,
    says:
      /--pagedata pte does not work: bpf: .+: rcap is without CAP_PERFMON[ ;]/,
  },
  CAP_DAC_OVERRIDE: {
    sources: ["pte", "smaps"],
    code: 4,
    says: /access denied \(open \/proc\/\d+\/(clear_refs|pagemap): Permission/,
  },
  // Since Linux 6.14, CAP_PERFMON lets rcap read maps and smaps, but not the
  // program of a process.
  CAP_SYS_PTRACE: {
    sources: ["pte", "smaps"],
    code: 5,
    says: /no process matches selector "exe:/,
  },
  CAP_SYS_NICE: {
    sources: ["pte", "smaps"],
    code: 4,
    says: /may not be paged out \(process_madvise: Operation not permitted/,
  },
};

/** A process of another user with clean file pages, selected by its program. */
async function victim(uid: number | undefined) {
  await using cleanup = new AsyncDisposableStack();
  const file = cleanup.use(await diskFile(16 * MIB));
  const folder = file.path.replace(/\/[^/]*$/, "");
  Deno.chmodSync(folder, 0o755);
  const perl = `${folder}/perl`;
  Deno.copyFileSync("/usr/bin/perl", perl);
  Deno.chmodSync(perl, 0o755);
  const workload = cleanup.use(await Workload.start({ perl, uid }));
  await workload.file("cold", { path: file.path });
  const moved = cleanup.move();
  return {
    workload,
    selector: `exe:${perl}`,
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

/** Scans a process down to 12 MiB with only some capabilities. */
async function scan(
  selector: string,
  { source, capabilities }: {
    source: Source;
    capabilities: readonly string[];
  },
) {
  const args = ["scan", selector, "--cap", "12M", "--pagedata", source];
  const plain = commandLine([...args, ...BRIEFLY], { confined: false });
  const { command, commandArgs } = withCapabilities(
    capabilities,
    [plain.command, ...plain.commandArgs],
  );
  const { code, stderr } = await new Deno.Command(command, {
    args: commandArgs,
    stdin: "null",
    stdout: "null",
  }).output();
  return { code, stderr: new TextDecoder().decode(stderr) };
}

for (const uid of [undefined, SOMEONE]) {
  const whose = uid === undefined ? "root's" : "another user's";
  for (const source of ["pte", "smaps"] as const) {
    Deno.test(`${whose} process is scanned with the unit's capabilities, by ${source}`, async () => {
      await using target = await victim(uid);
      const { workload, selector } = target;
      const capabilities = source === "pte"
        ? DAEMON_CAPABILITIES
        : DAEMON_CAPABILITIES.filter((name) =>
          LOSSES[name].sources.includes(source)
        );
      const { code, stderr } = await scan(selector, { source, capabilities });
      assertEquals(code, 0, stderr);
      assert(pssOf(workload.pid) <= 13 * MIB);
      await assertIntact(workload);
    });
  }
}

for (const missing of DAEMON_CAPABILITIES) {
  const { sources, code, says } = LOSSES[missing];
  Deno.test(`without ${missing} another user's process cannot be scanned`, async () => {
    await using target = await victim(SOMEONE);
    const { workload, selector } = target;
    const before = rssOf(workload.pid);
    const capabilities = DAEMON_CAPABILITIES.filter((name) => name !== missing);
    for (const source of sources) {
      const run = await scan(selector, { source, capabilities });
      assertEquals(run.code, code, run.stderr);
      assertMatch(run.stderr, says);
    }
    assert(rssOf(workload.pid) >= before - MIB);
    await assertIntact(workload);
  });
}
