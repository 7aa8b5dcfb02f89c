/**
 * Tests of `/etc/project`.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { SystemError } from "../../errors.ts";
import { IllumosErrno } from "../../../ffi/illumos_libc.ts";
import { parseProjects, ProjectFile } from "./project_file.ts";

/** The file of a new illumos installation, with some additions. */
const TEXT = `\
system:0::::
user.root:1::::
noproject:2::::
default:3::::
group.staff:10::::

# comments are left out
web:100:the web servers:www,alice:*:project.max-lwps=(privileged,100,deny);rcap.max-rss=1073741824
db:101::::rcap.max-rss=2147483648;task.max-lwps=(privileged,10,deny)
big:102::::rcap.max-rss-other=5
`;

Deno.test("projects are read, and the caps among their attributes", () => {
  const { projects, problems } = parseProjects(TEXT, "/etc/project");
  assertEquals(problems, []);
  assertEquals(
    projects.map(({ name, id, maxRss }) => [name, id, maxRss]),
    [
      ["system", 0, undefined],
      ["user.root", 1, undefined],
      ["noproject", 2, undefined],
      ["default", 3, undefined],
      ["group.staff", 10, undefined],
      ["web", 100, 2 ** 30],
      ["db", 101, 2 ** 31],
      ["big", 102, undefined],
    ],
  );
});

Deno.test("a problem is reported with its line, and does not affect other lines", () => {
  const cases: [line: string, problem: string][] = [
    [
      "web:100",
      "a project has six fields separated by colons (name:id:comment:users:groups:attributes), but this line has 2",
    ],
    ["a:5:::::", "a project has six fields"],
    [":5::::", `"" is not a valid project name`],
    ["1a:5::::", `"1a" is not a valid project name`],
    ["a:-1::::", `"-1" is not a valid project id; ids are whole numbers`],
    ["a:2147483648::::", `"2147483648" is not a valid project id`],
    ["a:::::", `"" is not a valid project id`],
    ["good:7::::", "line 1 already defines a project with this name or id"],
    ["other:6::::", "line 1 already defines a project with this name or id"],
    [
      "a:5::::rcap.max-rss=2G",
      `project "a": rcap.max-rss=2G is not a valid cap; write a whole number of bytes`,
    ],
    ["a:5::::rcap.max-rss=", `project "a": rcap.max-rss= is not a valid cap`],
    ["a:5::::rcap.max-rss", `project "a": rcap.max-rss= is not a valid cap`],
    ["a:5::::rcap.max-rss=0", `project "a": rcap.max-rss=0 is not a valid cap`],
    [
      "a:5::::rcap.max-rss=-1",
      `project "a": rcap.max-rss=-1 is not a valid cap`,
    ],
    ["a:5::::rcap.max-rss=99999999999999999999", "is not a valid cap"],
    [
      "a:5::::rcap.max-rss=1;rcap.max-rss=2",
      `project "a" has rcap.max-rss more than once`,
    ],
  ];
  for (const [line, problem] of cases) {
    const text = `good:6::::rcap.max-rss=4096\n${line}\nlast:9::::\n`;
    const { projects, problems } = parseProjects(text, "/p");
    assertEquals(problems.length, 1, line);
    assert(problems[0].startsWith("/p:2: "), problems[0]);
    assert(problems[0].includes(problem), problems[0]);
    const names = projects.map(({ name }) => name);
    assertEquals([names[0], names.at(-1)], ["good", "last"]);
    assertEquals(projects[0].maxRss, 4096);
    assertEquals(projects.find(({ name }) => name === "a")?.maxRss, undefined);
  }
});

/** A system with one file. */
class OneFile {
  text: string | undefined;
  errno: number = IllumosErrno.ENOENT;
  opened = 0;
  #at = 0;

  constructor(text?: string) {
    this.text = text;
  }

  open(): number {
    if (this.text === undefined) {
      throw new SystemError("open /p", this.errno, "denied");
    }
    this.opened++;
    this.#at = 0;
    return 3;
  }

  read(_fd: number, buffer: Uint8Array): number {
    const rest = new TextEncoder().encode(this.text).subarray(this.#at);
    const some = rest.subarray(0, Math.min(buffer.length, 1000));
    buffer.set(some);
    this.#at += some.length;
    return some.length;
  }

  close(): void {
    this.opened--;
  }
}

Deno.test("caps are returned once, until the file changes", () => {
  const system = new OneFile(TEXT);
  const file = new ProjectFile("/p", system);
  const caps = [
    { name: "web", id: 100, maxRss: 2 ** 30 },
    { name: "db", id: 101, maxRss: 2 ** 31 },
  ];
  assertEquals(file.changedCaps(), { caps, problems: [] });
  assertEquals(file.changedCaps(), undefined);
  // The same size, with another cap.
  system.text = TEXT.replace("1073741824", "1073741825");
  assertEquals(file.changedCaps()?.caps?.[0].maxRss, 2 ** 30 + 1);
  assertEquals(file.changedCaps(), undefined);
  system.text = undefined;
  assertEquals(file.changedCaps(), { caps: [], problems: [] });
  assertEquals(file.changedCaps(), undefined);
  assertEquals(system.opened, 0);
});

Deno.test("an unreadable file is reported, and changes no cap", () => {
  const system = new OneFile();
  const file = new ProjectFile("/p", system);
  assertEquals(file.changedCaps(), { caps: [], problems: [] });
  system.errno = IllumosErrno.EACCES;
  const denied = "/p cannot be read: open /p: denied";
  assertEquals(file.changedCaps(), { caps: undefined, problems: [denied] });
  assertEquals(file.changedCaps(), undefined);
  system.text = TEXT;
  assertEquals(file.changedCaps()?.caps?.length, 2);
});

Deno.test("a file of any size is read in full", () => {
  const many = Array.from(
    { length: 20_000 },
    (_, id) => `p${id}:${id}::::rcap.max-rss=4096\n`,
  ).join("");
  const file = new ProjectFile("/p", new OneFile(many));
  assertEquals(file.changedCaps()?.caps?.length, 20_000);
  assertEquals(file.idOf("p19999"), 19_999);
  assertEquals(file.idOf("none"), undefined);
});
