/**
 * PostgreSQL whose sessions have large memory of their own, and pgbench, which keeps them
 * busy.
 *
 * @module
 */

import { Place } from "./applications.ts";
import {
  bucketOf,
  BUCKETS,
  IDLE_BANDS,
  type Operations,
} from "./operations.ts";
import { postgresFolder } from "./programs.ts";

const USER = "postgres";
const SESSIONS = 8;
/** Rows of 930 bytes of each session: 50 MiB. */
const ROWS = 54_000;

/**
 * A session fills a temporary table, which it keeps in memory of its own (`temp_buffers`
 * of PostgreSQL's documentation), and reads rows of it.
 */
const SCRIPT = `\\if :is_ready = 0
create temp table t as
  select id, repeat(md5(id::text), 14) || repeat(md5((-id)::text), 14) as text
  from generate_series(1, ${ROWS}) id;
create unique index on t (id);
\\set is_ready 1
\\endif
\\set row 1 + permute(random_zipfian(1, ${ROWS}, 1.05) - 1, ${ROWS})
select length(text) from t where id = :row;
`;

/** A running server with its sessions; disposing ends them. */
export class Pgbench implements AsyncDisposable {
  readonly server: Deno.ChildProcess;
  readonly #place: Place;
  readonly #operations = {
    count: 0,
    jobs: 0,
    buckets: new Float64Array(BUCKETS),
    refaults: new Float64Array(IDLE_BANDS),
  };
  /** The sessions that have completed a transaction, by number. */
  readonly #seen = new Set<string>();
  #log: Deno.FsFile | undefined;
  #rest = "";

  private constructor(place: Place, server: Deno.ChildProcess) {
    this.#place = place;
    this.server = server;
  }

  /**
   * Starts a server, and pgbench.
   *
   * @param cgroup a cgroup.procs that the server joins first.
   */
  static async start(cgroup?: string): Promise<Pgbench> {
    const bin = postgresFolder();
    if (bin === undefined) throw new Error("PostgreSQL is not installed");
    await using held = new AsyncDisposableStack();
    const place = held.use(new Place());
    await place.ownedBy(USER);
    const data = place.at("data");
    await place.run([`${bin}/initdb`, "-D", data], USER);
    const server = place.spawn(
      [`${bin}/postgres`, "-D", data, "-k", place.folder].concat(
        ["-c", "listen_addresses=", "-c", "shared_buffers=16MB"],
        ["-c", "autovacuum=off", "-c", "temp_buffers=96MB"],
      ),
      USER,
      cgroup,
    );
    const connection = ["-h", place.folder, "-U", USER];
    await place.insist([`${bin}/psql`, ...connection, "-c", "select 1"], USER);
    Deno.writeTextFileSync(place.at("script"), SCRIPT);
    place.spawn(
      [`${bin}/pgbench`, ...connection, "-n", "-c", `${SESSIONS}`].concat(
        ["-f", place.at("script"), "-D", "is_ready=0", "-T", "100000"],
        ["-l", `--log-prefix=${place.at("log")}`, USER],
      ),
      USER,
    );
    held.move();
    return new Pgbench(place, server);
  }

  /** Whether all sessions have filled their memory. */
  isReady(): boolean {
    this.#read();
    return this.#seen.size === SESSIONS;
  }

  /** The transactions so far. */
  operations(): Operations {
    this.#read();
    const { count, jobs, buckets, refaults } = this.#operations;
    return { count, jobs, buckets: buckets.slice(), refaults };
  }

  /** Reads what is new in the log: "Per-Transaction Logging" of pgbench's documentation. */
  #read(): void {
    this.#log ??= this.#openLog();
    if (!this.#log) return;
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(1 << 20);
    for (;;) {
      const bytes = this.#log.readSync(buffer);
      if (bytes === null) return;
      const lines = (this.#rest + decoder.decode(buffer.subarray(0, bytes)))
        .split("\n");
      this.#rest = lines.pop() ?? "";
      for (const line of lines) {
        const [session, , microseconds] = line.split(" ");
        this.#seen.add(session);
        this.#operations.count++;
        this.#operations.buckets[bucketOf(Number(microseconds) * 1000)]++;
      }
    }
  }

  #openLog(): Deno.FsFile | undefined {
    for (const { name } of Deno.readDirSync(this.#place.folder)) {
      if (name.startsWith("log.")) return Deno.openSync(this.#place.at(name));
    }
    return undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#log?.close();
    await this.#place[Symbol.asyncDispose]();
  }
}
