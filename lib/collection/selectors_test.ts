/**
 * Tests of parsing selectors.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import "../../ffi/testing.ts";
import { UsageError } from "../errors.ts";
import { parsePid, parseSelector } from "./selectors.ts";

/** Which of some texts a selector matches. */
function matching(selector: string, ...texts: string[]): string[] {
  const parsed = parseSelector(selector);
  assert("matches" in parsed);
  return texts.filter(parsed.matches);
}

Deno.test("processes by pid, alone or with descendants", () => {
  assertEquals(parseSelector("42"), { kind: "pid", pid: 42, text: "42" });
  assertEquals(parseSelector("pid:0042"), {
    kind: "pid",
    pid: 42,
    text: "pid:0042",
  });
  assertEquals(parseSelector("tree:1"), {
    kind: "tree",
    pid: 1,
    text: "tree:1",
  });
});

Deno.test("users by name or uid", () => {
  assertEquals(parseSelector("user:root"), {
    kind: "user",
    uid: 0,
    text: "user:root",
  });
  // A uid need not have a name.
  assertEquals(parseSelector("user:54321"), {
    kind: "user",
    uid: 54321,
    text: "user:54321",
  });
});

Deno.test("globs are those of fnmatch, and a star matches everything", () => {
  const cases: [glob: string, matches: string[], not: string[]][] = [
    ["*", ["a", ".a", "a/b", "a\nb"], []],
    ["a*b", ["ab", "a/b", "a\nb", "axxb"], ["abc", "cab", "Ab"]],
    ["/usr/*/bin", ["/usr/local/bin", "/usr/a/b/bin"], ["/usr/bin"]],
    ["a?", ["ab", "a\n"], ["a", "abc"]],
    ["[ab]c", ["ac", "bc"], ["cc", "c"]],
    ["[a-c]", ["b"], ["d", "-"]],
    ["[!a]", ["b", "!"], ["a"]],
    ["[^a]", ["b"], ["a"]],
    ["[]x]", ["]", "x"], ["[", ""]],
    ["[[:digit:]]", ["7"], ["a"]],
    ["\\[a\\]", ["[a]"], ["a"]],
    ["a\\*", ["a*"], ["ab"]],
  ];
  for (const [glob, matches, not] of cases) {
    assertEquals(
      matching(`comm:${glob}`, ...matches, ...not),
      matches,
      glob,
    );
  }
});

Deno.test("characters that mean something elsewhere mean themselves", () => {
  const names = [
    "(sd-pam)",
    "{a,b}",
    "!a",
    "+(a)",
    "@(a|b)",
    "a.b",
    "a+",
    "^a$",
    '"a"',
    "a|b",
    "#a",
    "a b",
    "-a",
  ];
  for (const name of names) {
    assertEquals(
      matching(`comm:${name}`, name, "sd-pam", "a", "b", "aa", "axb"),
      [name],
    );
  }
});

Deno.test("a name that a user has chosen to take long takes no time", () => {
  // Of all who choose a name; with backtracking one alone takes minutes.
  const cases: [glob: string, name: string][] = [
    ["*a*a*a*b", `/${"a".repeat(3500)}`],
    ["*/*/*/*/x", "/".repeat(4095)],
    ["*[a-c]*[a-c]*[a-c]*d", "abc".repeat(1365)],
    ["*?a*?a*?a*?b", "a".repeat(4095)],
  ];
  for (const [glob, name] of cases) {
    for (const kind of ["comm", "exe", "cgroup"]) {
      assertEquals(matching(`${kind}:${glob}`, name), [], glob);
    }
  }
});

Deno.test("units by name, of whatever kind", () => {
  const names = ["ssh", "ssh.service", "ssh.socket", "a.ssh.service"];
  assertEquals(matching("unit:ssh", ...names), ["ssh.service"]);
  assertEquals(matching("unit:ssh.service", ...names), ["ssh.service"]);
  assertEquals(matching("unit:ssh.socket", ...names), ["ssh.socket"]);
  assertEquals(matching("unit:user-1000.slice", "user-1000.slice"), [
    "user-1000.slice",
  ]);
  assertEquals(matching("unit:org.example", "org.example.service"), [
    "org.example.service",
  ]);
  assertEquals(matching("unit:s*h", ...names), []);
});

Deno.test("what is no selector is refused, and the message says why", () => {
  const cases: [selector: string, message: string][] = [
    ["", `"" is not a selector; use pid:N or N, tree:N, user:NAME`],
    ["-1", `"-1" is not a selector`],
    ["firefox", `"firefox" is not a selector`],
    ["process:1", `"process:1" is not a selector`],
    ["PID:1", `"PID:1" is not a selector`],
    [":1", `":1" is not a selector`],
    ["pid:", `selector "pid:" has no value after the colon`],
    ["comm:", `selector "comm:" has no value after the colon`],
    [
      "0",
      `selector "0": "0" is not a process id; those are whole numbers from 1 to 4194304`,
    ],
    ["pid:-1", `selector "pid:-1": "-1" is not a process id`],
    ["pid:1.5", `"1.5" is not a process id`],
    ["pid:0x1", `"0x1" is not a process id`],
    ["pid: 1", `" 1" is not a process id`],
    ["tree:me", `selector "tree:me": "me" is not a process id`],
    ["4194305", `"4194305" is not a process id`],
    ["99999999999999999999", `is not a process id`],
    [
      "user:no such user",
      `selector "user:no such user": there is no user "no such user"`,
    ],
    ["user:-1", `there is no user "-1"`],
    ["comm:[a", `selector "comm:[a": malformed glob "[a"`],
    ["exe:/a]", `malformed glob "/a]"`],
    ["cgroup:[", `malformed glob "["`],
    ["comm:[z-a]", `malformed glob "[z-a]"`],
    ["project:a", `selector "project:a": projects are an illumos feature`],
    ["zone:global", `selector "zone:global": zones are an illumos feature`],
  ];
  for (const [selector, message] of cases) {
    assertThrows(() => parseSelector(selector), UsageError, message);
  }
});

Deno.test("a pid is a whole number from 1 to the largest there is", () => {
  assertEquals(parsePid("1", "process"), 1);
  assertEquals(parsePid("4194304", "process"), 4194304);
  for (const text of ["", "0", "00", "-1", "+1", "1e3", "١"]) {
    assertThrows(
      () => parsePid(text, "process"),
      UsageError,
      `process: "${text}" is not a process id`,
    );
  }
});
