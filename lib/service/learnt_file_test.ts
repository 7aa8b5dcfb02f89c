/**
 * Tests of the file in which the daemon keeps what it has learnt.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import "../../ffi/testing.ts";
import type { LearntGroup } from "../group/learnt_group.ts";
import { system } from "../platform/system_testing.ts";
import { learntDirectory, LearntFile } from "./learnt_file.ts";

const GROUP: LearntGroup = {
  name: "web",
  select: '["unit:nginx"]',
  programs: [{ path: "/usr/bin/nginx", file: "8 1 1" }],
  idleTime: { needed: [0, 12.5, 600], seconds: 750 },
};

/** A place for the directory, removed when disposed. */
class Place implements Disposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "rcap-" });
  readonly directory = `${this.folder}/learnt`;
  readonly file = `${this.directory}/learnt.json`;
  readonly warnings: string[] = [];

  open(): LearntFile {
    return new LearntFile(
      system,
      this.directory,
      (text) => this.warnings.push(text),
    );
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder, { recursive: true });
  }
}

Deno.test("what was learnt of a group with the same selectors is read again", () => {
  using place = new Place();
  {
    using file = place.open();
    assertEquals(file.of("web", GROUP.select), undefined);
    file.keep([GROUP]);
  }
  using file = place.open();
  assertEquals(file.of("web", GROUP.select), GROUP);
  assertEquals(file.of("web", '["unit:other"]'), undefined);
  assertEquals(file.of("other", GROUP.select), undefined);
  assertEquals(place.warnings, []);
  assertEquals(Deno.statSync(place.directory).mode! & 0o777, 0o700);
  assertEquals(Deno.statSync(place.file).mode! & 0o777, 0o600);
});

Deno.test("a damaged file is ignored, and replaced", () => {
  const whole = JSON.stringify({ version: 1, groups: [GROUP] });
  const damaged = [
    ["", "it is damaged"],
    [whole.slice(0, -3), "it is damaged"],
    ["[".repeat(100_000), "it is damaged"],
    [whole.replace('"version":1', '"version":2'), "has written"],
    [whole.replace("600", "1e300"), "has written"],
    [whole.replace("750", "0"), "has written"],
    [whole.replace("600", `600${",0".repeat(60)}`), "has written"],
  ];
  for (const [text, why] of damaged) {
    using place = new Place();
    Deno.mkdirSync(place.directory, { mode: 0o700 });
    Deno.writeTextFileSync(place.file, text, { mode: 0o600 });
    using file = place.open();
    assertEquals(file.of("web", GROUP.select), undefined, text.slice(0, 50));
    assertEquals(place.warnings.length, 1);
    assertMatch(place.warnings[0], new RegExp(`is ignored .*${why}`));
    file.keep([GROUP]);
    assertEquals(
      JSON.parse(Deno.readTextFileSync(place.file)).groups,
      [GROUP],
    );
  }
});

Deno.test("what others could have written is not read", () => {
  using place = new Place();
  Deno.mkdirSync(place.directory);
  Deno.writeTextFileSync(
    place.file,
    JSON.stringify({ version: 1, groups: [] }),
  );
  Deno.chmodSync(place.file, 0o666);
  {
    using _file = place.open();
    assertMatch(place.warnings[0], /is ignored/);
  }
  Deno.removeSync(place.file);
  Deno.chmodSync(place.directory, 0o777);
  place.warnings.length = 0;
  using file = place.open();
  assertMatch(place.warnings[0], /cannot be used .*--learnt-dir/);
  file.keep([GROUP]);
  assertEquals(file.of("web", GROUP.select), undefined);
});

Deno.test("whatever is in the place of the file is neither read nor waited for", () => {
  const text = JSON.stringify({ version: 1, groups: [GROUP] });
  const plants: [what: string, plant: (file: string) => void][] = [
    ["a link", (file) => {
      Deno.writeTextFileSync(`${file}.real`, text, { mode: 0o600 });
      Deno.symlinkSync(`${file}.real`, file);
    }],
    ["a pipe", (file) => {
      const made = new Deno.Command("mkfifo", { args: [file] }).outputSync();
      assertEquals(made.code, 0);
    }],
    ["a file of 1 TB", (file) => {
      Deno.writeTextFileSync(file, text, { mode: 0o600 });
      Deno.truncateSync(file, 2 ** 40);
    }],
  ];
  for (const [what, plant] of plants) {
    using place = new Place();
    Deno.mkdirSync(place.directory, { mode: 0o700 });
    plant(place.file);
    using file = place.open();
    assertEquals(file.of("web", GROUP.select), undefined, what);
    assertMatch(place.warnings.join(), /is ignored/, what);
    file.keep([GROUP]);
    assert(Deno.lstatSync(place.file).isFile, what);
    assertEquals(JSON.parse(Deno.readTextFileSync(place.file)).groups, [GROUP]);
    assertEquals(place.warnings.length, 1, what);
  }
});

Deno.test(
  "a directory or lock of another user, or a link to one, is not used",
  {
    ignore: Deno.uid() !== 0, // Only root can give files away.
  },
  () => {
    const strangers: ((place: Place) => void)[] = [
      ({ directory }) => {
        Deno.mkdirSync(directory, { mode: 0o700 });
        Deno.chownSync(directory, 65534, 65534);
      },
      ({ directory }) => {
        Deno.mkdirSync(directory, { mode: 0o700 });
        Deno.writeTextFileSync(`${directory}/lock`, "");
        Deno.chownSync(`${directory}/lock`, 65534, 65534);
      },
      ({ directory, folder }) => {
        Deno.mkdirSync(`${folder}/theirs`);
        Deno.symlinkSync(`${folder}/theirs`, directory);
      },
      ({ directory }) => Deno.writeTextFileSync(directory, ""),
    ];
    for (const make of strangers) {
      using place = new Place();
      make(place);
      using file = place.open();
      assertMatch(place.warnings.join(), /cannot be used .*--learnt-dir/);
      file.keep([GROUP]);
      assertEquals(file.of("web", GROUP.select), undefined);
    }
  },
);

Deno.test("another daemon that has the directory keeps it", () => {
  using place = new Place();
  using first = place.open();
  using second = place.open();
  assertMatch(place.warnings.join(), /another rcap uses it/);
  second.keep([]);
  first.keep([GROUP]);
  assertEquals(
    JSON.parse(Deno.readTextFileSync(place.file)).groups.length,
    1,
  );
});

Deno.test("the directory is that of the service manager, or /var/lib/rcap", () => {
  assertEquals(learntDirectory(() => undefined), "/var/lib/rcap");
  assertEquals(learntDirectory(() => ""), "/var/lib/rcap");
  assertEquals(learntDirectory(() => "/var/lib/a:/var/lib/b"), "/var/lib/a");
});
