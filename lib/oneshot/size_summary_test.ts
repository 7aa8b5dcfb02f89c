/**
 * Tests of what `rcap size` says, and of the configuration that it renders.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { parseSelector } from "../collection/selectors.ts";
import { unitOf } from "../collection/systemd_unit.ts";
import { parseToml } from "../config/toml.ts";
import type { CapCost, GroupSizeReport } from "./size_report.ts";
import { formatPart, formatRate, renderCaps } from "./size_summary.ts";
import { formatSeconds } from "../report/units.ts";

/** A group whose recommended cap is so many bytes. */
function group(name: string, cap: number | null): GroupSizeReport {
  const cost: CapCost = {
    cap: cap ?? 0,
    saved: 0,
    idleSeconds: null,
    idleIsAtLeast: false,
    refaults: 0,
    fromSwap: 0,
    fromFiles: 0,
    worstMinute: 0,
    perMinute: 0,
    stalled: 0,
    unjudged: 0,
  };
  return {
    name,
    processes: 1,
    size: 2 ** 30,
    startSize: 2 ** 30,
    fixed: 0,
    cannotGo: [],
    swapped: 0,
    returned: 0,
    toSwap: 0,
    toFiles: 0,
    workingSet: 0,
    workingSetSeconds: 120,
    least: 0,
    neverUsed: 0,
    neverUsedRefaults: 0,
    budget: 60,
    recommended: cap === null ? null : cost,
    swapNeeded: null,
    hasLargePages: false,
    curve: [cost],
  };
}

Deno.test("times, rates and shares are short", () => {
  assertEquals(
    [4.25, 20, 80, 240, 7500].map(formatSeconds),
    ["4.3s", "20s", "1m20s", "4m0s", "2h5m"],
  );
  assertEquals(
    [0, 0.01, 0.25, 6, 2150.4].map(formatRate),
    ["0/s", "<0.1/s", "0.3/s", "6.0/s", "2150/s"],
  );
  assertEquals(
    [0, 0.001, 0.032, 0.41].map(formatPart),
    ["0 %", "0.1 %", "3.2 %", "41 %"],
  );
});

Deno.test("the TOML of recommended caps reads back, whatever the names are", () => {
  const names = ["unit:a@b.service", "comm:x\\*\u001b", "comm:x\\*\u001b"];
  const text = renderCaps(
    [...names.map((name) => group(name, 2 ** 20)), group("comm:big", null)],
    ({ name }) => [name],
  );
  const { cap } = parseToml(text).value as { cap: Record<string, unknown>[] };
  assertEquals(
    cap.map(({ name, select, max_rss }) => [name, select, max_rss]),
    [
      ["a_b", [names[0]], "1M"],
      ["x", [names[1]], "1M"],
      ["x-2", [names[2]], "1M"],
    ],
  );
});

Deno.test("a process is in the unit that a selector of its name matches", () => {
  const cases = [
    ["/system.slice/nginx.service", "nginx.service"],
    ["/system.slice/system-ssh.slice/ssh@1.service/below", "ssh@1.service"],
    [
      "/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service",
      "user@1000/foo.service",
    ],
    ["/user.slice/user-0.slice/session-1.scope", "session-1.scope"],
    ["/docker/abc", undefined],
  ] as const;
  for (const [cgroup, unit] of cases) {
    assertEquals(unitOf(cgroup), unit);
    if (unit === undefined) continue;
    const selector = parseSelector(`unit:${unit}`);
    assertEquals(selector.kind === "unit" && selector.matches(cgroup), true);
  }
});
