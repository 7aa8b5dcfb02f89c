/**
 * Tests of paths that others can change, with real users and file systems.
 *
 * @module
 */

import { linuxFiles } from "../../ffi/linux_files.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { SystemError } from "../errors.ts";
import { illumosFiles } from "../../tests/support/illumos.ts";
import { type FileCalls, NotAFile, readUpTo } from "./directory.ts";
import {
  DistrustError,
  openTrustedDirectory,
  openTrustedFile,
} from "./trusted_path.ts";
import "../../ffi/testing.ts";

const NOBODY = 65534;
/** Belongs to neither root nor this test. */
const GROUP = 4711;

/** A tree of files, removed when disposed. */
class Tree implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "rcap-" });

  /** Makes a directory; `options` set its owner, group and mode. */
  directory(name: string, options: Special = {}): string {
    return this.#special(name, options, (path) => Deno.mkdirSync(path));
  }

  file(name: string, options: Special = {}): string {
    return this.#special(
      name,
      options,
      (path) => Deno.writeTextFileSync(path, "text"),
    );
  }

  link(name: string, target: string, { uid = 0 } = {}): string {
    const path = `${this.path}/${name}`;
    Deno.symlinkSync(target, path);
    run("chown", "-h", `${uid}`, path);
    return path;
  }

  #special(
    name: string,
    { uid = 0, gid = 0, mode }: Special,
    make: (path: string) => void,
  ): string {
    const path = `${this.path}/${name}`;
    make(path);
    Deno.chownSync(path, uid, gid);
    if (mode !== undefined) Deno.chmodSync(path, mode);
    return path;
  }

  /** A message without the path of the tree. */
  relative(error: Error): string {
    return error.message.replaceAll(`${this.path}/`, "");
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

interface Special {
  uid?: number;
  gid?: number;
  mode?: number;
}

function run(program: string, ...args: string[]): void {
  const { success, stderr } = new Deno.Command(program, { args }).outputSync();
  assert(success, new TextDecoder().decode(stderr));
}

/** The calls of every system, on the files of this one. */
const SYSTEMS = { Linux: linuxFiles, illumos: await illumosFiles() } as const;

/** Those of the test that runs. */
let files: FileCalls = linuxFiles;

/** Tests something with the calls of each system. Only root can give files to others. */
function testAsRoot(
  name: string,
  fn: (tree: Tree) => void,
  systems: readonly (keyof typeof SYSTEMS)[] = ["Linux", "illumos"],
): void {
  for (const system of systems) {
    Deno.test({
      name: `${name} (${system})`,
      ignore: Deno.uid() !== 0,
      fn() {
        files = SYSTEMS[system];
        using tree = new Tree();
        fn(tree);
      },
    });
  }
}

function readable(path: string): void {
  using file = openTrustedFile(files, path);
  assertEquals(new TextDecoder().decode(readUpTo(file, 100)), "text");
}

testAsRoot(
  "files that only root or this user can change are opened",
  (tree) => {
    readable(tree.file("plain"));
    readable(tree.file("of-roots-group", { mode: 0o664 }));
    tree.directory("sticky", { mode: 0o1777 });
    readable(tree.file("sticky/mine"));
    tree.directory("deep");
    readable(tree.file("deep/file"));
    readable(tree.link("link", "deep/file"));
    readable(tree.link("absolute", `${tree.path}/deep/file`));
    readable(tree.link("deep/back", "../deep/./file"));
    tree.link("near", "deep");
    readable(tree.link("far", "near/back"));
    readable(tree.link("sticky/link", "mine"));
    using directory = openTrustedDirectory(
      files,
      `${tree.path}/near/../deep`,
    );
    assertEquals(directory.path, `${tree.path}/deep`);
    using file = openTrustedFile(files, "../link", { from: directory });
    assertEquals(readUpTo(file, 100)?.length, 4);
  },
);

testAsRoot(
  "the error names what others can change, and a command that prevents it",
  (tree) => {
    tree.directory("plain");
    tree.directory("sticky", { mode: 0o1777 });
    tree.directory("theirs", { uid: NOBODY });
    tree.file("theirs/file");
    tree.directory("open", { mode: 0o777 });
    tree.file("open/file");
    tree.directory("open/below");
    tree.file("open/below/file");
    tree.directory("group", { gid: GROUP, mode: 0o775 });
    tree.file("group/file");
    tree.link("plain/to-open", "../open/file");
    tree.link("open/out", "../plain/file");
    tree.file("plain/file");
    Deno.linkSync(`${tree.path}/plain/file`, `${tree.path}/sticky/named`);
    const cases: [path: string, message: string][] = [
      [
        tree.file("a", { uid: NOBODY }),
        `the file a belongs to uid ${NOBODY}; chown root a`,
      ],
      [
        tree.file("b", { mode: 0o666 }),
        "the file b has mode 666, so that others can write to it; chmod o-w b",
      ],
      [
        tree.file("c", { gid: GROUP, mode: 0o664 }),
        `the file c has mode 664, so that group ${GROUP} can write to it; chmod g-w c`,
      ],
      [
        tree.file("d", { uid: NOBODY, gid: GROUP, mode: 0o666 }),
        `the file d belongs to uid ${NOBODY} and has mode 666, so that group ${GROUP} and others can write to it; chown root d and chmod go-w d`,
      ],
      [
        tree.file("sticky/theirs", { uid: NOBODY }),
        `the file sticky/theirs belongs to uid ${NOBODY}; chown root sticky/theirs`,
      ],
      [
        `${tree.path}/theirs/file`,
        `the directory theirs belongs to uid ${NOBODY}; chown root theirs`,
      ],
      [
        `${tree.path}/open/file`,
        "the directory open has mode 777, so that others can write to it; chmod o-w open",
      ],
      [
        `${tree.path}/open/below/file`,
        "the directory open has mode 777, so that others can write to it; chmod o-w open",
      ],
      [
        `${tree.path}/open/nowhere`,
        "the directory open has mode 777, so that others can write to it; chmod o-w open",
      ],
      [
        `${tree.path}/group/file`,
        `the directory group has mode 775, so that group ${GROUP} can write to it; chmod g-w group`,
      ],
      [
        tree.link("plain/theirs", "file", { uid: NOBODY }),
        `the symbolic link plain/theirs belongs to uid ${NOBODY}; chown -h root plain/theirs`,
      ],
      [
        `${tree.path}/plain/to-open`,
        "the directory open has mode 777, so that others can write to it; chmod o-w open",
      ],
      [
        `${tree.path}/open/out`,
        "the directory open has mode 777, so that others can write to it; chmod o-w open",
      ],
      [
        `${tree.path}/sticky/named`,
        "the file sticky/named has 2 hard links, and others can make such links in its directory; replace it with a copy",
      ],
    ];
    for (const [path, message] of cases) {
      const error = assertThrows(
        () => openTrustedFile(files, path),
        DistrustError,
      );
      assertEquals(tree.relative(error), message);
    }
  },
);

testAsRoot(
  "a directory that others can write to is refused, even if it is sticky",
  (tree) => {
    tree.directory("plain");
    const sticky = tree.directory("sticky", { mode: 0o1777 });
    tree.directory("sticky/mine");
    tree.link("link", "plain");
    openTrustedDirectory(files, `${tree.path}/sticky/mine`)
      [Symbol.dispose]();
    for (
      const [path, message] of [
        [
          sticky,
          "the directory sticky has mode 1777, so that others can write to it; chmod o-w sticky",
        ],
        [
          `${tree.path}/link`,
          "the symbolic link link is not followed here; use the path of the directory that it leads to",
        ],
      ]
    ) {
      const error = assertThrows(
        () => openTrustedDirectory(files, path),
        DistrustError,
      );
      assertEquals(tree.relative(error), message);
    }
    assertThrows(
      () => openTrustedDirectory(files, tree.file("file")),
      SystemError,
      "Not a directory",
    );
  },
);

testAsRoot(
  "missing directories are made, but only where others can change nothing",
  (tree) => {
    using made = openTrustedDirectory(files, `${tree.path}/a/b/c`, {
      make: 0o755,
    });
    assertEquals(made.status.mode, 0o755);
    tree.directory("open", { mode: 0o777 });
    assertThrows(
      () =>
        openTrustedDirectory(files, `${tree.path}/open/a`, {
          make: 0o755,
        }),
      DistrustError,
    );
    assertEquals([...Deno.readDirSync(`${tree.path}/open`)], []);
  },
);

testAsRoot(
  "with a callback the walk continues, but follows no more links",
  (tree) => {
    tree.directory("open", { mode: 0o777 });
    tree.directory("open/below", { uid: NOBODY });
    tree.link("open/link", "below");
    const reported: string[] = [];
    const onDistrust = (error: DistrustError) =>
      reported.push(tree.relative(error));
    using directory = openTrustedDirectory(
      files,
      `${tree.path}/open/below`,
      {
        onDistrust,
      },
    );
    assertEquals(directory.status.uid, NOBODY);
    assertEquals(reported, [
      "the directory open has mode 777, so that others can write to it; chmod o-w open",
    ]);
    assertThrows(
      () =>
        openTrustedDirectory(files, `${tree.path}/open/link`, {
          onDistrust,
          lastMayBeLink: true,
        }),
      DistrustError,
      "is in a place where others can replace it",
    );
  },
);

testAsRoot(
  "pipes, devices, sockets and directories are not opened",
  (tree) => {
    run("mkfifo", `${tree.path}/pipe`);
    run("mknod", `${tree.path}/device`, "c", "1", "5");
    using _socket = Deno.listen({
      transport: "unix",
      path: `${tree.path}/socket`,
    });
    tree.link("link", "pipe");
    for (const name of ["pipe", "device", "socket", "link"]) {
      assertThrows(
        () => openTrustedFile(files, `${tree.path}/${name}`),
        NotAFile,
      );
    }
    assertThrows(() => openTrustedFile(files, "/dev/zero"), NotAFile);
    const isDirectory = assertThrows(
      () => openTrustedFile(files, tree.path),
      SystemError,
      "Is a directory",
    );
    assertEquals(isDirectory.errno, 21);
  },
);

testAsRoot(
  "circular links and too many links are an error",
  (tree) => {
    tree.link("circle", "circle");
    for (let i = 0; i < 41; i++) tree.link(`chain${i}`, `chain${i + 1}`);
    tree.file("chain41");
    for (const name of ["circle", "chain0"]) {
      assertThrows(
        () => openTrustedFile(files, `${tree.path}/${name}`),
        SystemError,
        "Too many levels of symbolic links",
      );
    }
    readable(`${tree.path}/chain1`);
  },
);

testAsRoot(
  "an access control list that lets others write counts like a mode that does",
  (tree) => {
    const path = tree.file("listed");
    // acl(5) in the format of the kernel, <linux/posix_acl_xattr.h>: version 2; tag,
    // permissions and id of the owner, a user, the group, the mask and others.
    const undefinedId = 0xffffffff;
    const entries = [
      [0x01, 6, undefinedId],
      [0x02, 6, NOBODY],
      [0x04, 4, undefinedId],
      [0x10, 6, undefinedId],
      [0x20, 4, undefinedId],
    ];
    const list = new DataView(new ArrayBuffer(4 + entries.length * 8));
    list.setUint32(0, 2, true);
    for (const [index, [tag, permissions, id]] of entries.entries()) {
      list.setUint16(4 + index * 8, tag, true);
      list.setUint16(6 + index * 8, permissions, true);
      list.setUint32(8 + index * 8, id, true);
    }
    const libc = Deno.dlopen("libc.so.6", {
      setxattr: {
        parameters: ["buffer", "buffer", "buffer", "usize", "i32"],
        result: "i32",
      },
    });
    const text = (value: string) => new TextEncoder().encode(`${value}\0`);
    const result = libc.symbols.setxattr(
      text(path),
      text("system.posix_acl_access"),
      new Uint8Array(list.buffer),
      BigInt(list.byteLength),
      0,
    );
    libc.close();
    assertEquals(result, 0, "the file system has access control lists");
    // Root's group may write, but it is not all that the mode stands for here.
    const error = assertThrows(
      () => openTrustedFile(files, path),
      DistrustError,
    );
    assertEquals(
      tree.relative(error),
      "the file listed has an access control list that lets others write to it; setfacl -b listed",
    );
    Deno.chownSync(path, 0, GROUP);
    assertThrows(
      () => openTrustedFile(files, path),
      DistrustError,
      "chmod g-w",
    );
  },
  ["Linux"],
);

type Ace = readonly [who: number, mask: number, flags: number, type: number];

/** Gives a file the list of `ace_t` that the calls of illumos see. */
function setAces(
  path: string,
  ...aces: readonly Ace[]
): void {
  const list = new DataView(new ArrayBuffer(aces.length * 12));
  for (const [index, [who, mask, flags, type]] of aces.entries()) {
    list.setUint32(index * 12, who, true);
    list.setUint32(index * 12 + 4, mask, true);
    list.setUint16(index * 12 + 8, flags, true);
    list.setUint16(index * 12 + 10, type, true);
  }
  const hex = Array.from(
    new Uint8Array(list.buffer),
    (byte) => byte.toString(16).padStart(2, "0"),
  ).join("");
  const script =
    'import os, sys; os.setxattr(sys.argv[1], "trusted.rcap.ace", bytes.fromhex(sys.argv[2]))';
  run("python3", "-c", script, path, hex);
}

testAsRoot(
  "an access control list counts, of which the mode shows nothing",
  (tree) => {
    const [owner, everyone, group] = [0x1000, 0x4000, 0x40];
    const [read, write, writeAcl] = [0x1, 0x2, 0x4_0000];
    const [allow, deny] = [0, 1];
    const path = tree.file("listed");
    const trusted = [
      [[0, write, owner, allow], [0, read, everyone, allow]],
      [[NOBODY, read, 0, allow], [NOBODY, write, 0, deny]],
      [[0, write, 0, allow], [0, write, group, allow]],
    ] as const;
    for (const aces of trusted) {
      setAces(path, ...aces);
      readable(path);
    }
    const message =
      "the file listed has an access control list that lets others write to it; chmod A- listed";
    const distrusted = [
      [NOBODY, write, 0, allow],
      [GROUP, write, group, allow],
      [0, writeAcl, everyone, allow],
    ] as const;
    for (const ace of distrusted) {
      setAces(path, ace);
      const error = assertThrows(
        () => openTrustedFile(files, path),
        DistrustError,
      );
      assertEquals(tree.relative(error), message);
    }
    // Not even the sticky bit keeps a directory that others may give themselves.
    const sticky = tree.directory("sticky", { mode: 0o1777 });
    tree.file("sticky/mine");
    readable(`${sticky}/mine`);
    setAces(sticky, [NOBODY, writeAcl, 0, allow]);
    assertThrows(
      () => openTrustedFile(files, `${sticky}/mine`),
      DistrustError,
      "the directory",
    );
  },
  ["illumos"],
);
