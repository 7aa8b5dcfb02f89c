/**
 * Tests of parsing `/proc/<pid>/stat`.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import "../../../ffi/testing.ts";
import { pageSize } from "../../../ffi/system.ts";
import { HIDDEN_LAYOUT, parseStat } from "./stat.ts";

/** A stat line: 52 fields since Linux 3.5, see proc_pid_stat(5). */
function line(
  {
    comm = "perl",
    state = "S",
    flags = 0x400000,
    code = 0x5555,
    threads = 1,
    image = 12345678,
  } = {},
): string {
  return `4242 (${comm}) ${state} 17 4242 17 34816 4242 ${flags} 500 0 7 0 3 1 0 0 20 0 ${threads} 0 ` +
    `987654 ${image} 900 18446744073709551615 ${code} 2 3 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 ` +
    `4 5 6 7 8 9 10 0\n`;
}

Deno.test("the fields that rcap needs are parsed", () => {
  assertEquals(parseStat(line()), {
    pid: 4242,
    comm: "perl",
    ppid: 17,
    startTime: 987654,
    layout: "21845 2 3",
    isSystem: false,
    isZombie: false,
    mainThreadExited: false,
    rss: 900 * pageSize(),
    image: 12345678,
    majorFaults: 7,
    threads: 1,
    isStopped: false,
  });
});

Deno.test("only a process that a signal has stopped is stopped", () => {
  const stopped = ["R", "S", "D", "T", "t", "Z"].filter((state) =>
    parseStat(line({ state })).isStopped
  );
  assertEquals(stopped, ["T"]);
});

Deno.test("a command may contain parentheses, spaces and newlines, or be empty", () => {
  for (
    const comm of [
      "(sd-pam)",
      ") S 1 (",
      "a b",
      "a\nb",
      "a) R 1 2 3",
      "",
      "))",
      "((",
      "é",
    ]
  ) {
    const stat = parseStat(line({ comm }));
    assertEquals({ comm: stat.comm, ppid: stat.ppid }, { comm, ppid: 17 });
  }
});

Deno.test("a main thread that has exited while others run is no zombie", () => {
  const of = (state: string, threads: number, image?: number) => {
    const stat = parseStat(line({ state, threads, image }));
    const { isZombie, mainThreadExited } = stat;
    return { isZombie, mainThreadExited };
  };
  const zombie = { isZombie: true, mainThreadExited: false };
  const runs = { isZombie: false, mainThreadExited: false };
  const goesOn = { isZombie: false, mainThreadExited: true };
  for (const state of ["Z", "X"]) {
    assertEquals(of(state, 1), zombie);
    assertEquals(of(state, 0), zombie);
    assertEquals(of(state, 2), goesOn);
  }
  assertEquals(of("S", 1), runs);
  assertEquals(of("S", 2), runs);
  // It releases its memory just before.
  assertEquals(of("R", 2, 0), goesOn);
  assertEquals(of("R", 1, 0), runs);
});

Deno.test("kernel threads and zombies are recognized", () => {
  assertEquals(parseStat(line({ flags: 0x208040 })).isSystem, true);
  assertEquals(parseStat(line()).isSystem, false);
  for (
    const [state, expected] of [["Z", true], ["X", true], ["T", false], [
      "D",
      false,
    ]] as const
  ) {
    assertEquals(parseStat(line({ state })).isZombie, expected, state);
  }
});

Deno.test("exec changes the layout", () => {
  assertEquals(parseStat(line()).layout, parseStat(line({ comm: "x" })).layout);
  const { layout } = parseStat(line({ code: 0x6666 }));
  assertEquals(layout === parseStat(line()).layout, false);
});

Deno.test("a text that is not a stat line is rejected", () => {
  for (
    const text of [
      "",
      "4242",
      "(a)",
      "4242 (a) S 1 2 3",
      ")4242(",
      line().replace("(", ""),
    ]
  ) {
    assertThrows(() => parseStat(text), SyntaxError, "not a stat line: ");
  }
});

Deno.test("the kernel's own line is parsed", () => {
  const { pid, comm, ppid, layout } = parseStat(
    Deno.readTextFileSync("/proc/self/stat"),
  );
  assertEquals({ pid, ppid }, { pid: Deno.pid, ppid: Deno.ppid });
  assertEquals(`${comm}\n`, Deno.readTextFileSync("/proc/self/comm"));
  assertEquals(/^[1-9]\d*( [1-9]\d*){2}$/.test(layout), true, layout);
});

Deno.test("a process that this user may not examine hides its layout", async () => {
  const { stdout } = await new Deno.Command("cat", {
    args: ["/proc/1/stat"],
    ...Deno.uid() === 0 ? { uid: 65_534, gid: 65_534 } : {},
  }).output();
  const { layout, image } = parseStat(new TextDecoder().decode(stdout));
  assertEquals(layout, HIDDEN_LAYOUT);
  assert(image > 0);
});
