/**
 * Tests of parsing selectors.
 *
 * @module
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { system } from "../platform/system_testing.ts";
import fc from "fast-check";
import "../../ffi/testing.ts";
import { UsageError } from "../errors.ts";
import {
  parseArguments,
  parsePid,
  parseSelector,
  quoteSelector,
  writtenAs,
  type WrittenSelector,
} from "./selectors.ts";
import { Users } from "./users.ts";

const users = new Users(system);
await users.lookUp([
  "user:root",
  "user:no such user",
  "user:no such user + comm:a",
  "user:-1",
]);

/** Returns the texts that a selector matches. */
function matching(selector: string, ...texts: string[]): string[] {
  const parsed = parseSelector(selector);
  assert("matches" in parsed);
  return texts.filter(parsed.matches);
}

Deno.test("processes are selected by pid, alone or with descendants", () => {
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

Deno.test("users are selected by name or uid", () => {
  assertEquals(parseSelector("user:root", users), {
    kind: "user",
    uid: 0,
    text: "user:root",
  });
  assertEquals(parseSelector("user:+0", users), {
    kind: "user",
    uid: 0,
    text: "user:+0",
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

Deno.test("characters that are special elsewhere are literal", () => {
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

Deno.test("a name that a user has chosen to be slow to match matches fast", () => {
  // With backtracking a single one would take minutes.
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

Deno.test("a process belongs to the unit that systemd assigns", () => {
  const [user, manager] = [
    "/user.slice/user-1000.slice",
    "/user.slice/user-1000.slice/user@1000.service",
  ];
  const cases: [unit: string, cgroups: string[], not: string[]][] = [
    ["ssh", [
      "/system.slice/ssh.service",
      "/ssh.service",
      "/system.slice/ssh.service/worker",
      "/system.slice/ssh.service/ssh.socket/x.service",
      "/a.slice/a-b.slice/a-b-c.slice/ssh.service",
    ], [
      "/system.slice/ssh.socket",
      "/system.slice/a.ssh.service",
      "/system.slice/ssh",
      "/system.slice",
      "/",
      // A cgroup that its owner has named like a unit.
      `${manager}/app.slice/ssh.service`,
      `${manager}/ssh.service`,
      `${manager}/system.slice/ssh.service`,
      `${user}/session-1.scope/ssh.service`,
      "/system.slice/foo.service/system.slice/ssh.service",
      "/system.slice/docker-0a1b.scope/system.slice/ssh.service",
      "/machine.slice/machine-a.scope/payload/system.slice/ssh.service",
      "/docker/0a1b/system.slice/ssh.service",
      "/lxc.payload.a/system.slice/ssh.service",
      "/init.scope/ssh.service",
      // Neither is a slice.
      "/.slice/ssh.service",
      "/a b.slice/ssh.service",
      "/a@b.slice/ssh.service",
    ]],
    ["ssh.service", ["/system.slice/ssh.service"], []],
    ["ssh.socket", ["/system.slice/ssh.socket"], ["/system.slice/ssh.service"]],
    ["init.scope", ["/init.scope"], [`${manager}/init.scope`]],
    ["getty@tty1", ["/system.slice/system-getty.slice/getty@tty1.service"], [
      "/system.slice/system-getty.slice/getty@tty2.service",
    ]],
    ["org.example", ["/system.slice/org.example.service"], []],
    ["session-1.scope", [`${user}/session-1.scope`], []],
    ["a\\x2db.service", ["/system.slice/a\\x2db.service"], []],
    // systemd prefixes names that the kernel reserves with an underscore.
    ["_a", ["/system.slice/__a.service"], ["/system.slice/_a.service"]],
    ["cpu.a", ["/system.slice/_cpu.a.service"], []],
    ["memory", ["/system.slice/_memory.service", "/_memory.service"], [
      "/system.slice/__memory.service",
      "/system.slice/_memory.scope",
    ]],
    ["io.slice", ["/_io.slice", "/_io.slice/a.service"], ["/__io.slice"]],
    ["user-1000.slice", [
      user,
      `${user}/session-1.scope`,
      `${manager}/app.slice/x.service`,
    ], [
      "/user.slice",
      "/user.slice/user-1001.slice/session-2.scope",
      `/user.slice/user-1001.slice/user@1001.service/user-1000.slice/x.service`,
    ]],
    ["a.slice", ["/a.slice", "/a.slice/a-b.slice/x.service"], [
      "/ab.slice",
      "/system.slice/x.service/a.slice",
      "/a-b.slice/x.service",
    ]],
    ["-.slice", ["/", "/system.slice/x.service", "/init.scope"], []],
    ["user@1000", [manager, `${manager}/init.scope`, `${manager}/a.slice/b`], [
      user,
      "/user.slice/user-1001.slice/user@1001.service/user@1000.service",
    ]],
    ["user@1000.service", [manager], []],
    ["user@1000/foo.service", [
      `${manager}/foo.service`,
      `${manager}/app.slice/foo.service`,
      `${manager}/app.slice/app-x.slice/foo.service/below`,
    ], [
      "/system.slice/foo.service",
      manager,
      `${manager}/app.slice/bar.service/foo.service`,
      "/user.slice/user-1001.slice/user@1001.service/app.slice/foo.service",
      "/system.slice/x.service/user@1000.service/foo.service",
    ]],
    ["user@1000.service/foo", [`${manager}/app.slice/foo.service`], []],
    ["user@1000/app.slice", [
      `${manager}/app.slice`,
      `${manager}/app.slice/foo.service`,
    ], ["/app.slice/foo.service", `${manager}/session.slice/foo.service`]],
    ["user@1000/-.slice", [manager, `${manager}/init.scope`], [user]],
    // Globs match whole names, with their type, as for systemctl.
    ["ngin?.service", ["/system.slice/nginx.service"], [
      "/system.slice/nginx.socket",
      "/system.slice/ngin.service",
      `${manager}/app.slice/nginx.service`,
      "/docker/0a1b/system.slice/nginx.service",
    ]],
    ["memor*", [
      "/system.slice/_memory.service",
      "/a.slice/_memory.scope/below",
      "/memory-hog.slice/x.service",
    ], ["/system.slice/x.service", "/memory", "/memory.x", "/memor y.service"]],
    ["getty@*", ["/system.slice/system-getty.slice/getty@tty1.service"], [
      "/system.slice/getty@.service",
      "/system.slice/system-getty.slice/x.service",
    ]],
    ["a-*.slice", ["/a.slice/a-b.slice/x.service"], ["/a.slice/x.service"]],
    ["foo@bar\\x2d*", ["/system.slice/foo@bar\\x2dbaz.service"], [
      "/system.slice/foo@barx2dbaz.service",
      "/system.slice/foo@bar-baz.service",
    ]],
    ["*[\\]x2d[ab]*", ["/system.slice/a\\x2db.service"], [
      "/system.slice/a\\x2dc.service",
      "/system.slice/ax2db.service",
    ]],
    // The root slice has every process.
    ["*.slice", ["/", "/system.slice/x.service", "/docker/0a1b"], []],
    ["user@*/foo*", [
      `${manager}/app.slice/foo.service`,
      "/user.slice/user-7.slice/user@7.service/foo.slice/x.service",
    ], [
      manager,
      "/system.slice/foo.service",
      "/user.slice/user@x.service/foo.service",
    ]],
    ["user@100[01].service/-.slice", [manager], [
      "/user.slice/user-1002.slice/user@1002.service",
    ]],
  ];
  for (const [unit, cgroups, not] of cases) {
    assertEquals(matching(`unit:${unit}`, ...cgroups, ...not), cgroups, unit);
  }
});

Deno.test("invalid names of units are refused", () => {
  const cases: [selector: string, message: string][] = [
    [
      "unit:s*h",
      'selector "unit:s*h": "s*h" can match no unit with processes: their names end in a type; write s*h.service, or s*h.* for all types',
    ],
    ["unit:ngin?", '"ngin?" can match no unit with processes'],
    ["unit:a*.timer", '"a*.timer" can match no unit with processes'],
    ["unit:a *", '"a *" matches no valid unit name'],
    ["unit:[a*", '"[a*" is a malformed glob (nothing closes the bracket "[")'],
    ["unit:user@1/s?h", '"s?h" can match no unit with processes'],
    ["unit:system*/ssh", '"system*/ssh" is not a unit'],
    [
      "unit:getty@",
      '"getty@" is a template, which has no processes; name an instance, or all of them: getty@*.service',
    ],
    ["unit:getty@.socket", "name an instance, or all of them: getty@*.socket"],
    ["unit:@a", '"@a" is not a valid unit name'],
    [
      "unit:multi-user.target",
      '"multi-user.target" is a unit without processes; name one that has: a service,',
    ],
    ["unit:apt-daily.timer", '"apt-daily.timer" is a unit without processes'],
    ["unit:a b", '"a b" is not a valid unit name'],
    ["unit:/ssh", '"" is not a valid unit name'],
    ["unit:user@1000/", '"" is not a valid unit name'],
    [
      "unit:system.slice/ssh",
      '"system.slice/ssh" is not a unit; name a unit of',
    ],
    ["unit:user@alice/ssh", '"user@alice/ssh" is not a unit'],
    ["unit:user@1/a.slice/b", '"user@1/a.slice/b" is not a unit'],
  ];
  for (const [selector, message] of cases) {
    assertThrows(() => parseSelector(selector), UsageError, message);
  }
});

Deno.test("a glob that can match no process is refused, and the remedy is a selector that can", () => {
  const none = "can match no process: ";
  const cases: [selector: string, message: string][] = [
    [
      "comm:chromium-browser-main",
      `selector "comm:chromium-browser-main" ${none}the system cuts command names to 15 bytes; select by program: exe:*/chromium-browser-main, or by the first 15 bytes: comm:chromium-browse`,
    ],
    [
      "comm:chromium-[bB]rows*er",
      `${none}the system cuts command names to 15 bytes; select by program: exe:*/chromium-[bB]rows*er`,
    ],
    ["comm:????????????????", none],
    // The kernel cuts within the eighth letter.
    [
      "comm:\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4",
      "bytes: comm:\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4?",
    ],
    ["comm:[\u{1f600}][\u{1f600}][\u{1f600}][\u{1f600}]", none],
    [
      "cgroup:newb",
      `selector "cgroup:newb" ${none}the path of a cgroup begins with a slash; write cgroup:/newb, or cgroup:*/newb for any place`,
    ],
    ["cgroup:[a-z]*", `${none}the path of a cgroup begins with a slash`],
    [
      "cgroup:a.slice/",
      "write cgroup:/a.slice/*, or cgroup:*/a.slice/* for any place",
    ],
    [
      "cgroup:/a.slice/",
      `${none}the path of a cgroup does not end in a slash; write cgroup:/a.slice/* for all below it`,
    ],
    [
      "exe:firefox",
      `selector "exe:firefox" ${none}the path of a program begins with a slash; write exe:/firefox, or exe:*/firefox for any place`,
    ],
    ["exe:./a", none],
    ["exe:/", "write exe:/* for all below it"],
    ["exe:/usr/lib/*/", "write exe:/usr/lib/*/* for all below it"],
  ];
  for (const [selector, message] of cases) {
    const { problem, remedy = "" } = assertThrows(
      () => parseSelector(selector),
      UsageError,
      message,
    );
    assert(problem.includes(none));
    const suggested = remedy.match(/(comm|exe|cgroup):[^\s,]+/g) ?? [];
    assert(suggested.length > 0, remedy);
    for (const one of suggested) parseSelector(one);
  }
});

Deno.test("a glob that can match some process is accepted", () => {
  const cases: [selector: string, match: string][] = [
    ["comm:chromium-browse", "chromium-browse"],
    ["comm:?*?*?*?*?*?*?*?*", "abcdefgh"],
    ["comm:[[:alpha:]][!a]*", "ab"],
    // Fifteen bytes that are not UTF-8.
    ["comm:\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd", "\ufffd".repeat(6)],
    ["comm:???????????????", "\ufffd".repeat(15)],
    ["cgroup:?newb", "/newb"],
    ["cgroup:[/]newb", "/newb"],
    ["cgroup:[!a]newb", "/newb"],
    ["cgroup:\\/newb", "/newb"],
    ["cgroup:*newb", "/newb"],
    ["cgroup:/", "/"],
    ["cgroup:*/", "/"],
    ["cgroup:/a ", "/a "],
    ["exe:*x", "/x"],
    ["exe:?usr/bin/x", "/usr/bin/x"],
  ];
  for (const [selector, match] of cases) {
    assertEquals(matching(selector, match), [match], selector);
  }
});

/** Parses the selectors of a command line and returns their words. */
async function written(...texts: string[]): Promise<WrittenSelector[]> {
  return (await parseArguments(texts, system)).map(writtenAs);
}

Deno.test("selectors are joined by a separate argument, and by nothing within a name", async () => {
  assertEquals(await written("exe:/a", "+", "user:0", "comm:b"), [
    ["exe:/a", "user:0"],
    "comm:b",
  ]);
  assertEquals(await written("1", "+", "2", "+", "tree:3"), [
    ["1", "2", "tree:3"],
  ]);
  const names = [
    "comm:+",
    "comm:a + b",
    "exe:/+",
    "exe:/a+ + +b",
    "cgroup:/ + ",
  ];
  assertEquals(await written(...names), names);
  assertEquals(await written(names[0], "+", names[1]), [[names[0], names[1]]]);
  const [joined] = await parseArguments(["comm:a + b", "+", "pid:1"], system);
  assertEquals(quoteSelector(joined), '"comm:a + b" + "pid:1"');
});

Deno.test("a selector that cannot be, and looks like several joined ones, is explained", () => {
  const remedy = "; to join selectors, write each and the + between them as";
  for (
    const text of [
      "comm:lazy + user:root",
      "user:no such user + comm:a",
      "unit:a + user:root",
      "pid:1 + tree:2",
      "1 + 2",
    ]
  ) {
    assertThrows(() => parseSelector(text, users), UsageError, remedy);
  }
  for (const text of ["pid:1 + a", "comm:sixteen + letters"]) {
    const error = assertThrows(() => parseSelector(text, users), UsageError);
    assert(!error.message.includes("to join"), error.message);
  }
});

Deno.test("the words of any joined selectors are returned as they were joined", async () => {
  const word = fc.tuple(
    fc.constantFrom("comm:", "exe:*", "cgroup:*"),
    fc.string({
      minLength: 1,
      maxLength: 14,
      unit: fc.constantFrom("+", " ", "a", '"', "/"),
    }).map((text) => `${text}+`),
  ).map((parts) => parts.join(""));
  const groups = fc.array(fc.array(word, { minLength: 1, maxLength: 3 }), {
    minLength: 1,
    maxLength: 4,
  });
  await fc.assert(fc.asyncProperty(groups, async (groups) => {
    const texts = groups.flatMap((group) =>
      group.flatMap((text, index) => index === 0 ? [text] : ["+", text])
    );
    assertEquals(
      await written(...texts),
      groups.map((group) => group.length === 1 ? group[0] : group),
    );
  }));
});

Deno.test("a joint that joins nothing is refused", async () => {
  for (
    const texts of [["+"], ["+", "1"], ["1", "+"], ["1", "+", "+", "2"], [
      "+",
      "+",
    ]]
  ) {
    await assertRejects(
      () => parseArguments(texts, system),
      UsageError,
      '"+" is not between two selectors; it joins two',
    );
  }
  await assertRejects(
    () => parseArguments(["user:no such user", "+", "1"], system),
    UsageError,
    'selector "user:no such user": there is no user',
  );
});

Deno.test("an invalid selector is refused, and the message says why", () => {
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
      `selector "0": "0" is not a process id; a process id is a whole number from 1 to 4194304`,
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
    [
      "user:4294967295",
      `selector "user:4294967295": no process can have the user id 4294967295; a user id is a whole number from 0 to 4294967294`,
    ],
    ["user:+4294967295", "no process can have the user id 4294967295"],
    ["user:99999999999999999999", "no process can have the user id"],
    ["comm:[a", `selector "comm:[a": malformed glob "[a"`],
    ["exe:/a]", `malformed glob "/a]"`],
    ["cgroup:[", `malformed glob "["`],
    ["comm:[z-a]", `malformed glob "[z-a]"`],
    ["project:a", `selector "project:a": projects are an illumos feature`],
    ["zone:global", `selector "zone:global": zones are an illumos feature`],
  ];
  for (const [selector, message] of cases) {
    assertThrows(() => parseSelector(selector, users), UsageError, message);
  }
});

Deno.test("a pid is a whole number from 1 to the largest possible", () => {
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
