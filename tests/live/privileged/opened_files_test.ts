/**
 * Tests with strace that the built binary opens no file that a user other than root
 * and the caller could have made or changed. From source, Deno decides what is
 * opened, so this runs only if `RCAP_BIN` names a binary.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { COMPILE_FLAGS } from "../../../scripts/build.ts";
import { cap, QUICKLY } from "../../support/daemon.ts";
import { requireRoot } from "../../support/live.ts";
import { trace, type Use, useOf } from "../../support/strace.ts";
import { until, Workload } from "../../support/workload.ts";

const BINARY = Deno.env.get("RCAP_BIN");

/** The user who tries to influence root's rcap. */
const STRANGER = { name: "nobody", uid: 65534 };

/** Time limit of a command under strace on a slow machine, in milliseconds. */
const DEADLINE_MS = 60_000;

/** Others' write permission. */
const WRITABLE = 0o022;
const STICKY = 0o1000;

/** Returns the status of a file, without following a link; `undefined` if there is none. */
function look(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (
      error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotADirectory
    ) return undefined;
    throw error;
  }
}

/**
 * Returns how a user other than root can make, replace or change the target of a
 * path; `undefined` if none can.
 *
 * @param trusted users who may, besides root.
 */
function weaknessOf(
  path: string,
  trusted: readonly number[] = [],
): string | undefined {
  const isTrusted = (uid: number | null) => uid === 0 || trusted.includes(uid!);
  const todo = path.split("/").filter((name) => name !== "");
  let place = "";
  let links = 0;
  while (todo.length > 0) {
    const name = todo.shift()!;
    if (name === ".") continue;
    if (name === "..") {
      place = place.slice(0, Math.max(0, place.lastIndexOf("/")));
      continue;
    }
    const parent = look(place || "/");
    assert(parent, place);
    const isOpen = !isTrusted(parent.uid) || (parent.mode! & WRITABLE) !== 0;
    const isSticky = isTrusted(parent.uid) && (parent.mode! & STICKY) !== 0;
    place += `/${name}`;
    const info = look(place);
    if (!info) {
      return isOpen ? `others can make ${place}` : undefined;
    }
    if (isOpen && !(isSticky && isTrusted(info.uid))) {
      return `others can replace ${place}`;
    }
    if (!isTrusted(info.uid)) return `${place} is of uid ${info.uid}`;
    if (info.isSymlink) {
      assert(++links < 40, `${path}: links in circles`);
      const target = Deno.readLinkSync(place);
      place = target.startsWith("/")
        ? ""
        : place.slice(0, place.lastIndexOf("/"));
      todo.unshift(...target.split("/").filter((name) => name !== ""));
      continue;
    }
    // Writing to a device changes no file.
    if (info.isFile && (info.mode! & WRITABLE) !== 0) {
      return `others can write to ${place}`;
    }
  }
  return undefined;
}

/**
 * Files of the kernel: they contain users' text only as properties of processes,
 * which rcap must read. Links from there to other files are judged by their
 * targets.
 */
const KERNELS = /^\/(proc|sys)(\/|$)/;

/** Returns the problems of the files that a program used. */
function faultsOf(
  uses: readonly Use[],
  { named = [], trusted = [] }: {
    /** Files that the caller of the program named. */
    named?: readonly string[];
    trusted?: readonly number[];
  } = {},
): string[] {
  const faults = new Set<string>();
  for (const { line, path, opened, isOnlyFound } of uses) {
    if (isOnlyFound) continue;
    for (const one of new Set([path, opened ?? path])) {
      if (KERNELS.test(one) || named.includes(one)) continue;
      const weakness = weaknessOf(one, trusted);
      if (weakness !== undefined) faults.add(`${weakness}: ${line}`);
    }
  }
  return [...faults];
}

Deno.test("the binary is built to load no code from places where others can write", () => {
  assert(COMPILE_FLAGS.includes("--no-code-cache"), `${COMPILE_FLAGS}`);
});

Deno.test("files that others can make, replace or change are distinguished from those they cannot", () => {
  requireRoot();
  const folder = Deno.makeTempDirSync({ dir: "/run", prefix: "rcap-test-" });
  try {
    Deno.chmodSync(folder, 0o755);
    const at = (name: string) => `${folder}/${name}`;
    Deno.writeTextFileSync(at("own"), "");
    Deno.mkdirSync(at("sticky"));
    Deno.chmodSync(at("sticky"), 0o1777);
    Deno.writeTextFileSync(at("sticky/own"), "");
    Deno.writeTextFileSync(at("sticky/other"), "");
    Deno.chownSync(at("sticky/other"), STRANGER.uid, STRANGER.uid);
    Deno.mkdirSync(at("open"));
    Deno.chmodSync(at("open"), 0o777);
    Deno.writeTextFileSync(at("open/own"), "");
    Deno.writeTextFileSync(at("shared"), "");
    Deno.chmodSync(at("shared"), 0o664);
    Deno.symlinkSync("open/own", at("link"));
    Deno.symlinkSync("sticky/../own", at("safe-link"));
    const cases: [name: string, weakness: string | undefined][] = [
      ["own", undefined],
      ["absent", undefined],
      ["absent/below", undefined],
      ["sticky/own", undefined],
      ["sticky/other", `others can replace ${at("sticky/other")}`],
      ["sticky/absent", `others can make ${at("sticky/absent")}`],
      ["open/own", `others can replace ${at("open/own")}`],
      ["open/absent", `others can make ${at("open/absent")}`],
      ["shared", `others can write to ${at("shared")}`],
      ["link", `others can replace ${at("open/own")}`],
      ["safe-link", undefined],
    ];
    for (const [name, weakness] of cases) {
      assertEquals(weaknessOf(at(name)), weakness, name);
    }
    assertEquals(weaknessOf(at("sticky/other"), [STRANGER.uid]), undefined);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("lines of strace are parsed", () => {
  const cases: [line: string, use: Omit<Use, "line"> | undefined][] = [
    [
      'openat(AT_FDCWD</root>, "a", O_RDONLY|O_CLOEXEC) = 3</root/a>',
      {
        call: "openat",
        path: "/root/a",
        opened: "/root/a",
        isOnlyFound: false,
      },
    ],
    [
      'openat(19</proc/1>, "stat", O_RDONLY|O_PATH) = 20</proc/1/stat>',
      {
        call: "openat",
        path: "/proc/1/stat",
        opened: "/proc/1/stat",
        isOnlyFound: true,
      },
    ],
    [
      'openat(AT_FDCWD</>, "/tmp/O_PATH \\"\\303\\n", O_RDONLY) = -1 ENOENT (No such file or directory)',
      {
        call: "openat",
        path: '/tmp/O_PATH "\xc3\n',
        opened: undefined,
        isOnlyFound: false,
      },
    ],
    [
      'execve("/bin/x", ["/bin/x", "a"], 0x7ffc /* 3 vars */) = 0',
      { call: "execve", path: "/bin/x", opened: undefined, isOnlyFound: false },
    ],
    [
      'connect(5<UNIX-STREAM:[1]>, {sa_family=AF_UNIX, sun_path="/run/x"}, 110) = -1 ENOENT (No such file or directory)',
      {
        call: "connect",
        path: "/run/x",
        opened: undefined,
        isOnlyFound: false,
      },
    ],
    [
      'connect(5<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr("127.0.0.1")}, 16) = 0',
      undefined,
    ],
    ["+++ exited with 0 +++", undefined],
    ["--- SIGTERM {si_signo=SIGTERM} ---", undefined],
  ];
  for (const [line, use] of cases) {
    assertEquals(useOf(line), use && { line, ...use }, line);
  }
});

/**
 * A directory of a stranger with everything that they might want rcap to read: used
 * as the working directory, the home, and the target of environment variables.
 */
class Trap implements Disposable {
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  readonly #planted: string[] = [];

  constructor(binary: string) {
    this.folder = Deno.makeTempDirSync({ prefix: "rcap-trap-" });
    const config = {
      nodeModulesDir: "auto",
      imports: { valibot: "./evil.ts" },
    };
    const files = {
      "deno.json": JSON.stringify(config),
      "deno.jsonc": JSON.stringify(config),
      "package.json": '{ "type": "module" }',
      "deno.lock": "{}",
      ".env": "NODE_OPTIONS=--require=./evil.js",
      ".npmrc": "registry=http://127.0.0.1:1",
      "main.ts": "console.log('evil')",
      "rcap.toml": "",
      "libc.so.6": "",
    };
    for (const [name, text] of Object.entries(files)) {
      Deno.writeTextFileSync(`${this.folder}/${name}`, text);
    }
    Deno.mkdirSync(`${this.folder}/node_modules/valibot`, { recursive: true });
    for (const directory of ["/tmp", this.folder]) {
      this.#plant(`${directory}/deno-compile-${binary}.cache`);
    }
    for (const { path } of tree(this.folder)) {
      Deno.chownSync(path, STRANGER.uid, STRANGER.uid);
    }
    // TZ, TZDIR and LOCPATH are left out: the C library follows them for any
    // caller.
    const directories = [
      "HOME",
      "TMPDIR",
      "TMP",
      "TEMP",
      "XDG_CACHE_HOME",
      "XDG_CONFIG_HOME",
      "XDG_DATA_HOME",
      "XDG_RUNTIME_DIR",
      "DENO_DIR",
      "DENO_INSTALL_ROOT",
      "DENO_COVERAGE_DIR",
      "NODE_PATH",
      "NODE_V8_COVERAGE",
      "NODE_ICU_DATA",
      "SSL_CERT_DIR",
      "PWD",
    ];
    const files_ = [
      "DENO_CERT",
      "DENO_AUDIT_PERMISSIONS",
      "NODE_EXTRA_CA_CERTS",
      "NPM_CONFIG_USERCONFIG",
      "SSL_CERT_FILE",
      "OPENSSL_CONF",
    ];
    this.env = Object.fromEntries([
      ...directories.map((name) => [name, this.folder]),
      ...files_.map((name) => [name, `${this.folder}/.npmrc`]),
      ["NODE_OPTIONS", `--require=${this.folder}/main.ts`],
      ["DENO_V8_FLAGS", `--snapshot_blob=${this.folder}/deno.lock`],
    ]);
  }

  #plant(path: string): void {
    try {
      Deno.writeTextFileSync(path, "native code", { createNew: true });
    } catch (error) {
      // It was already created and belongs to the stranger.
      if (error instanceof Deno.errors.AlreadyExists) return;
      throw error;
    }
    Deno.chownSync(path, STRANGER.uid, STRANGER.uid);
    this.#planted.push(path);
  }

  [Symbol.dispose](): void {
    for (const path of this.#planted) Deno.removeSync(path);
    Deno.removeSync(this.folder, { recursive: true });
  }
}

/** A directory and everything below it. */
function* tree(path: string): Generator<{ path: string }> {
  yield { path };
  if (!Deno.lstatSync(path).isDirectory) return;
  for (const { name } of Deno.readDirSync(path)) yield* tree(`${path}/${name}`);
}

/** A directory that only root can change, with a configuration. */
class OwnPlace implements Disposable {
  readonly folder = Deno.makeTempDirSync({ dir: "/run", prefix: "rcap-test-" });
  readonly config = `${this.folder}/rcap.toml`;
  readonly state = `${this.folder}/state`;

  constructor(pid: number) {
    // A user name is looked up in every source of the system.
    const select = [`pid:${pid}`, "user:root"];
    Deno.writeTextFileSync(
      this.config,
      QUICKLY + cap("one", [`pid:${pid}`], "1G") +
        cap("root", select.slice(1), "1T"),
    );
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder, { recursive: true });
  }
}

if (BINARY !== undefined) {
  const binary = Deno.realPathSync(BINARY);
  const basename = binary.slice(binary.lastIndexOf("/") + 1);
  // A user who can change the binary itself needs nothing else.
  const named = [binary];

  Deno.test("no command opens what others could have made or changed", async () => {
    requireRoot();
    await using workload = await Workload.start();
    await workload.anon("some", 2 ** 20);
    const pid = `${workload.pid}`;
    using place = new OwnPlace(workload.pid);
    using trap = new Trap(basename);
    const config = ["--config", place.config];
    const state = ["--state-dir", place.state];
    const run = async (args: string[], env = trap.env) => {
      const traced = await trace({
        command: [binary, ...args],
        cwd: trap.folder,
        env,
        deadline: DEADLINE_MS,
      });
      assertEquals(faultsOf(traced.uses, { named }), [], args.join(" "));
      return traced;
    };
    // Also without the environment, for the default places.
    for (const env of [{}, trap.env]) {
      const { code, stdout } = await run(["--version"], env);
      assertEquals(code, 0);
      assert(stdout !== "");
    }
    const commands: [args: string[], code?: number][] = [
      [["--help"], 0],
      [["no-such-command"], 2],
      [["inspect", pid], 0],
      [["inspect", pid, "--json"], 0],
      [["scan", `pid:${pid}`, "--cap", "1M", "--dry-run"]],
      // Whether the cap can be met depends on the machine's swap.
      [["scan", `pid:${pid}`, "--cap", "1M"]],
      [["check", ...config, "--print"], 0],
      [["check", "--config", `${place.folder}/absent.toml`], 2],
      [["run", ...config, ...state, "--print-unit"], 0],
      [["run", ...config, ...state, "--once"], 0],
      [["stat", ...state], 1],
    ];
    for (const [args, code] of commands) {
      const traced = await run(args);
      if (code === undefined) continue;
      assertEquals(traced.code, code, `${args.join(" ")}: ${traced.stderr}`);
    }
    assertStringIncludes((await run(["doctor"])).stdout, "process_madvise");

    // The daemon, and the commands that talk to it.
    const daemon = run(["run", ...config, ...state, "--metrics", "0"]);
    // An error is reported where the daemon is awaited.
    daemon.catch(() => {});
    const file = `${place.state}/state.json`;
    try {
      await until(() => look(file) !== undefined, "the daemon's state");
      const dialogues = [["stat", "1", "1"], ["set", "one", "2G"], ["reload"]];
      for (const args of dialogues) {
        const traced = await run([...args, ...state]);
        assertEquals(traced.code, 0, traced.stderr);
      }
    } finally {
      if (look(file)) {
        Deno.kill(JSON.parse(Deno.readTextFileSync(file)).pid, "SIGTERM");
      }
    }
    const { code, stderr } = await daemon;
    assertEquals(code, 0, stderr);
  });

  Deno.test("with file capabilities, the binary opens nothing that its caller made", async () => {
    requireRoot();
    const folder = Deno.makeTempDirSync({ dir: "/run", prefix: "rcap-test-" });
    try {
      Deno.chmodSync(folder, 0o755);
      const copy = `${folder}/${basename}`;
      Deno.copyFileSync(binary, copy);
      Deno.chmodSync(copy, 0o755);
      const given = await new Deno.Command("setcap", {
        args: ["cap_sys_ptrace,cap_sys_nice,cap_dac_override=ep", copy],
      }).output();
      assert(given.success, new TextDecoder().decode(given.stderr));
      using trap = new Trap(basename);
      const { uses, stdout } = await trace({
        command: [copy, "doctor"],
        cwd: trap.folder,
        env: {
          ...trap.env,
          LD_LIBRARY_PATH: trap.folder,
          GCONV_PATH: trap.folder,
          LOCPATH: trap.folder,
          TZ: `:${trap.folder}/.env`,
        },
        user: STRANGER.name,
        deadline: DEADLINE_MS,
      });
      assertStringIncludes(stdout, "with CAP_SYS_PTRACE");
      assertEquals(faultsOf(uses), []);
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  });
}
