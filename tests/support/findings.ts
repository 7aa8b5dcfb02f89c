/**
 * The findings of `rcap doctor`.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { Finding } from "../../lib/platform/platform.ts";
import { rcapJson, type RunOptions } from "./rcap.ts";

/** The names of the findings, in order. */
export const NAMES = [
  "privileges",
  "proc",
  "namespaces",
  "pidfd",
  "process_madvise",
  "clear_refs",
  "smaps",
  "pagemap",
  "pagedata",
  "map counts",
  "swap",
  "swap at boot",
  "zram",
  "large pages",
  "references",
  "page-in",
  "other observers",
  "cgroups",
  "BTF",
  "BPF",
];

/** Runs `rcap doctor --json` and checks the form of its output. */
export async function examined(
  options?: RunOptions,
): Promise<{ code: number; findings: Finding[] }> {
  const { code, json, stderr } = await rcapJson<
    { version: number; capabilities: Finding[] }
  >(["doctor"], options);
  assertEquals(stderr, "");
  assertEquals(Object.keys(json), ["version", "capabilities"]);
  const { version, capabilities } = json;
  assertEquals(version, 1);
  assertEquals(capabilities.map(({ name }) => name), NAMES);
  for (const finding of capabilities) {
    const told = JSON.stringify(finding);
    assertEquals(
      Object.keys(finding).sort(),
      ["detail", "meaning", "name", "remedy", "required", "status"],
    );
    assert(["ok", "degraded", "missing"].includes(finding.status), told);
    assert(finding.detail.length > 0 && finding.meaning.length > 0, told);
    // A finding that is ok has no remedy; every other has one.
    if (finding.status === "ok") assertEquals(finding.remedy, null, told);
    else assert(finding.remedy, told);
  }
  return { code, findings: capabilities };
}

/** The finding with a name. */
export function named(findings: readonly Finding[], name: string): Finding {
  const finding = findings.find((finding) => finding.name === name);
  assert(finding);
  return finding;
}

/** The statuses of some findings. */
export function statuses(
  findings: readonly Finding[],
  ...names: string[]
): string[] {
  return names.map((name) => named(findings, name).status);
}
