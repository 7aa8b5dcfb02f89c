/**
 * Services that answer requests at a fixed rate: memcached and MariaDB.
 *
 * @module
 */

import { until } from "../../tests/support/workload.ts";
import { Place, startMariadb } from "./applications.ts";
import { BUCKETS } from "./operations.ts";

/** A running service; disposing kills it. */
export interface Service extends AsyncDisposable {
  /** The process to cap. */
  readonly pid: number;
  /** Its requests so far, by how long they took; `undefined` if that is not measured. */
  buckets(): Float64Array | undefined;
}

/** How services are used. */
export interface ServiceOptions {
  /** The folder of the compiled generators. */
  readonly programs: string;
  /** Requests a second. */
  readonly rate: number;
  /** The size of the data, in bytes. */
  readonly size: number;
  readonly exponent: number;
}

const VALUE = 1000;

/** Starts memcached, and requests of keys by Zipf's law. */
export async function startMemcached(
  { programs, rate, size, exponent }: ServiceOptions,
): Promise<Service> {
  const place = new Place();
  await using held = new AsyncDisposableStack();
  held.use(place);
  const socket = place.at("socket");
  const records = place.at("records");
  Deno.writeTextFileSync(records, "");
  const most = `${Math.ceil(size * 1.5 / 2 ** 20)}`;
  place.spawn(["memcached", "-u", "root", "-t", "1", "-m", most, "-s", socket]);
  await place.file("socket");
  const keys = Math.floor(size / (VALUE + 100));
  const words = [records, socket, `${keys}`, `${VALUE}`, `${exponent}`];
  const driver = [`${programs}/memcached_driver`, ...words];
  place.spawn(["env", `RCAP_BENCH_RATE=${rate}`, ...driver]);
  const read = () => {
    const bytes = Deno.readFileSync(records);
    return new BigUint64Array(bytes.buffer, 0, bytes.length >> 3);
  };
  await until(() => read()[1] === 1n, "memcached to be filled", 120_000);
  held.move();
  return {
    pid: place.main!.pid,
    buckets: () => Float64Array.from(read().subarray(2, 2 + BUCKETS), Number),
    [Symbol.asyncDispose]: () => place[Symbol.asyncDispose](),
  };
}

/** The rows of the table that MariaDB has: `startMariadb`. */
const ROWS = 700_000;
/** How often requests are sent, in milliseconds. */
const TICK = 20;

/** Starts MariaDB, and selects rows by Zipf's law. */
export async function startDatabase(
  { rate, exponent }: ServiceOptions,
): Promise<Service> {
  const place = new Place();
  await using held = new AsyncDisposableStack();
  held.use(place);
  await startMariadb(place);
  const client = place.spawn([
    "mariadb",
    "--no-defaults",
    `--socket=${place.at("socket")}`,
    "-u",
    "root",
    "d",
  ]);
  const writer = client.stdin.getWriter();
  const draw = zipf(ROWS, exponent);
  let due = 0;
  let isWaiting = false;
  const timer = setInterval(async () => {
    if (isWaiting) return;
    due += rate * TICK / 1000;
    const count = Math.floor(due);
    due -= count;
    const queries = Array.from(
      { length: count },
      () => `select b from t where a = ${spread(draw()) + 1};\n`,
    );
    isWaiting = true;
    await writer.write(new TextEncoder().encode(queries.join("")))
      .catch(() => clearInterval(timer));
    isWaiting = false;
  }, TICK);
  held.move();
  return {
    pid: place.main!.pid,
    buckets: () => undefined,
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await writer.close().catch(() => {});
      await place[Symbol.asyncDispose]();
    },
  };
}

/** Spreads popular rows over the table. */
function spread(rank: number): number {
  return Number(BigInt(rank) * 2_654_435_761n % BigInt(ROWS));
}

/** Returns a function that draws ranks by Zipf's law: `zipf_of` of operations.h. */
function zipf(n: number, exponent: number): () => number {
  let zeta = 0;
  for (let i = 1; i <= n; i++) zeta += 1 / i ** exponent;
  const zeta2 = 1 + 1 / 2 ** exponent;
  const alpha = 1 / (1 - exponent);
  const eta = (1 - (2 / n) ** (1 - exponent)) / (1 - zeta2 / zeta);
  return () => {
    const u = Math.random();
    if (u * zeta < 1) return 0;
    if (u * zeta < zeta2) return 1;
    return Math.min(Math.floor(n * (eta * u - eta + 1) ** alpha), n - 1);
  };
}
