/**
 * Ten applications with some of their data in memory, as they are installed on the
 * machine.
 *
 * @module
 */

import { until } from "../../tests/support/workload.ts";
import { exists, postgresFolder } from "./programs.ts";

/** A running application; disposing kills it and removes its files. */
export interface Application extends AsyncDisposable {
  /** The process of which all others of it descend. */
  readonly pid: number;
}

/** How to start an application. */
export interface ApplicationKind {
  readonly name: string;
  /** The program that must be installed. */
  readonly program: string;
  /** The same in Debian's packages. */
  readonly package: string;
  start(place: Place): Promise<void>;
}

/** How long an application may take to start, in milliseconds. */
const PATIENCE_MS = 180_000;

/** Memory of most of them, in bytes. */
const SIZE = 2 ** 28;

/** Where an application runs: its folder, and its processes. */
export class Place implements AsyncDisposable {
  readonly folder: string;
  readonly #held = new AsyncDisposableStack();
  /** The first process that was started to stay. */
  main: Deno.ChildProcess | undefined;

  constructor() {
    this.folder = Deno.makeTempDirSync({
      dir: "/var/tmp",
      prefix: "rcap-app-",
    });
    this.#held.defer(() => Deno.remove(this.folder, { recursive: true }));
    Deno.chmodSync(this.folder, 0o755);
  }

  /** A path in its folder. */
  at(name: string): string {
    return `${this.folder}/${name}`;
  }

  /** Gives its folder to a user. */
  async ownedBy(user: string): Promise<void> {
    await this.run(["chown", "-R", user, this.folder]);
  }

  /**
   * Starts a process that stays, in a session of its own.
   *
   * @param cgroup a cgroup.procs to join first.
   */
  spawn(
    command: string[],
    user?: string,
    cgroup?: string,
  ): Deno.ChildProcess {
    const [program, ...args] = inCgroup(asUser(command, user), cgroup);
    const child = new Deno.Command(program, {
      args,
      cwd: this.folder,
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    }).spawn();
    this.main ??= child;
    this.#held.defer(async () => {
      await child.stdin.close().catch(() => {});
      try {
        child.kill("SIGTERM");
      } catch (error) {
        // It has exited.
        if (!(error instanceof TypeError)) throw error;
      }
      await child.status;
    });
    return child;
  }

  /** Runs a process to its end. */
  async run(command: string[], user?: string): Promise<void> {
    const [program, ...args] = asUser(command, user);
    const { success, stderr } = await new Deno.Command(program, {
      args,
      cwd: this.folder,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    if (success) return;
    throw new Error(
      `${command.join(" ")}: ${new TextDecoder().decode(stderr)}`,
    );
  }

  /** Runs a process again and again until it succeeds. */
  async insist(command: string[], user?: string): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      try {
        return await this.run(command, user);
      } catch (error) {
        if (performance.now() > deadline) throw error;
      }
      await pause(250);
    }
  }

  /** Waits until a process has made a file of its folder. */
  async file(name: string): Promise<void> {
    await until(() => exists(this.at(name)), `${name} to exist`, PATIENCE_MS);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#held.disposeAsync();
  }
}

/** The command line that joins a cgroup first, if one is given. */
export function inCgroup(command: string[], procs?: string): string[] {
  return procs === undefined
    ? command
    : ["sh", "-c", 'echo $$ > "$0" && exec "$@"', procs, ...command];
}

/** The command line with which root runs a command as another user: setpriv(1). */
function asUser(command: string[], user: string | undefined): string[] {
  if (user === undefined) return command;
  return ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--init-groups"]
    .concat("--", command);
}

async function startPostgres(place: Place): Promise<void> {
  const bin = postgresFolder();
  if (bin === undefined) throw new Error("PostgreSQL is not installed");
  const user = "postgres";
  const connection = ["-h", place.folder, "-U", user];
  await place.ownedBy(user);
  await place.run([`${bin}/initdb`, "-D", place.at("data")], user);
  place.spawn(
    [`${bin}/postgres`, "-D", place.at("data"), "-k", place.folder].concat(
      ["-c", "listen_addresses=", "-c", "shared_buffers=512MB"],
    ),
    user,
  );
  await place.insist([`${bin}/psql`, ...connection, "-c", "select 1"], user);
  await place.run(
    [`${bin}/pgbench`, ...connection, "-i", "-s", "40", "-q"].concat(user),
    user,
  );
  const clients = [`${bin}/pgbench`, ...connection, "-n", "-S", "-c", "8"];
  await place.run([...clients, "-T", "10", user], user);
  // The connections stay while the application is measured.
  place.spawn([...clients, "-T", "100000", user], user);
  await pause(15_000);
}

export async function startMariadb(place: Place): Promise<void> {
  const user = "mysql";
  const data = `--datadir=${place.at("data")}`;
  const socket = place.at("socket");
  await place.ownedBy(user);
  await place.run(
    [
      "mariadb-install-db",
      "--no-defaults",
      data,
      "--auth-root-authentication-method=normal",
    ],
    user,
  );
  place.spawn(
    ["mariadbd", "--no-defaults", data, `--socket=${socket}`].concat(
      ["--skip-networking", "--innodb-buffer-pool-size=256M"],
    ),
    user,
  );
  const client = ["mariadb", "--no-defaults", `--socket=${socket}`, "-u"];
  await place.insist([...client, "root", "-e", "select 1"]);
  await place.run([
    ...client,
    "root",
    "-e",
    "create database d; use d; create table d.t (a int primary key, b char(200)); insert into d.t select seq, repeat('b', 200) from seq_1_to_700000; select count(*) from d.t",
  ]);
}

async function startRedis(place: Place): Promise<void> {
  const socket = place.at("socket");
  place.spawn(
    ["redis-server", "--save", "", "--port", "0", "--unixsocket", socket]
      .concat(
        ["--enable-debug-command", "yes"],
      ),
  );
  const client = ["redis-cli", "-s", socket];
  await place.insist([...client, "ping"]);
  await place.run([...client, "debug", "populate", "400000", "key", "500"]);
}

async function startMemcached(place: Place): Promise<void> {
  const socket = place.at("socket");
  place.spawn(["memcached", "-u", "root", "-m", "300", "-s", socket]);
  await place.file("socket");
  using connection = await Deno.connect({ transport: "unix", path: socket });
  const value = "v".repeat(1000);
  for (let key = 0; key < 200_000; key += 1000) {
    let text = "";
    for (let at = key; at < key + 1000; at++) {
      text += `set key${at} 0 0 ${value.length} noreply\r\n${value}\r\n`;
    }
    const bytes = new TextEncoder().encode(text);
    for (let sent = 0; sent < bytes.length;) {
      sent += await connection.write(bytes.subarray(sent));
    }
  }
  await pause(1000);
}

/** A program that keeps a list of arrays. */
const JAVA = `public class Keeper {
  public static void main(String[] words) throws Exception {
    java.util.List<byte[]> kept = new java.util.ArrayList<>();
    for (int i = 0; i < ${SIZE / 1024}; i++) kept.add(new byte[1000]);
    new java.io.File("ready").createNewFile();
    Thread.sleep(Long.MAX_VALUE);
    System.out.println(kept.size());
  }
}
`;

function startJava(collector: string): ApplicationKind["start"] {
  return async (place) => {
    Deno.writeTextFileSync(place.at("Keeper.java"), JAVA);
    const [program] = ["/usr/lib/jvm/java-17-openjdk-amd64/bin/java"]
      .filter(exists).concat("java");
    place.spawn([program, "-Xmx1g", `-XX:+Use${collector}`, "Keeper.java"]);
    await place.file("ready");
    await pause(3000);
  };
}

async function startChromium(place: Place): Promise<void> {
  Deno.writeTextFileSync(
    place.at("page.html"),
    `<script>window.kept = Array.from({ length: 1e6 }, (_, i) => ({ i }));</script>`,
  );
  place.spawn([
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--remote-debugging-port=0",
    `--user-data-dir=${place.at("profile")}`,
    `file://${place.at("page.html")}`,
  ]);
  await place.file("profile/DevToolsActivePort");
  await pause(10_000);
}

/** Starts a program that makes the file `ready` when its memory is filled. */
function startScript(...command: string[]): ApplicationKind["start"] {
  return async (place) => {
    place.spawn(command);
    await place.file("ready");
    await pause(1000);
  };
}

async function startSqlite(place: Place): Promise<void> {
  const { stdin } = place.spawn(["sqlite3", ":memory:"]);
  const writer = stdin.getWriter();
  await writer.write(new TextEncoder().encode(
    `create table t (a integer primary key, b text);
insert into t select value, hex(zeroblob(100)) from generate_series(1, 800000);
.shell touch ready
`,
  ));
  writer.releaseLock();
  await place.file("ready");
}

/** The applications. */
export const APPLICATIONS: readonly ApplicationKind[] = [
  {
    name: "PostgreSQL",
    program: "/usr/lib/postgresql",
    package: "postgresql",
    start: startPostgres,
  },
  {
    name: "MariaDB",
    program: "mariadbd",
    package: "mariadb-server",
    start: startMariadb,
  },
  {
    name: "Redis",
    program: "redis-server",
    package: "redis-server",
    start: startRedis,
  },
  {
    name: "memcached",
    program: "memcached",
    package: "memcached",
    start: startMemcached,
  },
  {
    name: "JVM, G1",
    program: "java",
    package: "openjdk-17-jdk-headless",
    start: startJava("G1GC"),
  },
  {
    name: "JVM, ZGC",
    program: "java",
    package: "openjdk-17-jdk-headless",
    start: startJava("ZGC"),
  },
  {
    name: "Chromium",
    program: "chromium",
    package: "chromium",
    start: startChromium,
  },
  {
    name: "Node.js",
    program: "node",
    package: "nodejs",
    start: startScript(
      "node",
      "-e",
      "const a = Array.from({ length: 2e6 }, (_, i) => ({ i })); require('fs').writeFileSync('ready', ''); setInterval(() => a.length, 1e8)",
    ),
  },
  {
    name: "Python",
    program: "python3",
    package: "python3",
    start: startScript(
      "python3",
      "-c",
      "import time\na = [str(i) * 10 for i in range(2000000)]\nopen('ready', 'w')\ntime.sleep(1e6)",
    ),
  },
  {
    name: "SQLite",
    program: "sqlite3",
    package: "sqlite3",
    start: startSqlite,
  },
];

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Starts an application and waits until its data is in memory. */
export async function startApplication(
  { name, start }: ApplicationKind,
): Promise<Application> {
  const place = new Place();
  await using held = new AsyncDisposableStack();
  held.use(place);
  await start(place);
  const pid = place.main?.pid;
  if (pid === undefined) throw new Error(`${name} has no process`);
  held.move();
  return { pid, [Symbol.asyncDispose]: () => place[Symbol.asyncDispose]() };
}

/** Whether the program of an application is installed. */
export async function isInstalled(
  { program }: ApplicationKind,
): Promise<boolean> {
  if (program.startsWith("/")) return exists(program);
  const { success } = await new Deno.Command("which", {
    args: [program],
    stdout: "null",
  }).output();
  return success;
}
