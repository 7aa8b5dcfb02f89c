/**
 * Finds the programs of workloads.
 *
 * @module
 */

import { fetchPackages } from "../../tests/vm/debian.ts";

/** Finds the redis-server of the machine, or Debian's, unpacked into a cache. */
export async function redisServer(): Promise<
  { command: string; env?: Record<string, string> }
> {
  if (isOnPath("redis-server")) return { command: "redis-server" };
  const tree = await fetchPackages({
    release: "bookworm",
    name: "redis",
    packages: ["redis-server"],
    only:
      /^(redis-tools|redis-server|lib(jemalloc2|lua5\.1-0|lzf1|hiredis.*|atomic1|systemd0|ssl3|lzma5|zstd1|lz4-1|gcrypt20|gpg-error0|cap2)|lua-(bitop|cjson))$/,
  });
  const libraries = `${tree}/usr/lib/x86_64-linux-gnu`;
  return {
    command: `${tree}/usr/bin/redis-server`,
    env: { LD_LIBRARY_PATH: `${libraries}:${tree}/lib/x86_64-linux-gnu` },
  };
}

/** Debian's folder of the programs of the newest PostgreSQL; `undefined` without one. */
export function postgresFolder(): string | undefined {
  const parent = "/usr/lib/postgresql";
  if (!exists(parent)) return undefined;
  const versions = Array.from(Deno.readDirSync(parent), ({ name }) => name)
    .toSorted((a, b) => Number(b) - Number(a));
  return versions.map((version) => `${parent}/${version}/bin`)
    .find((folder) => exists(`${folder}/initdb`));
}

/** Whether a program is in a folder of `PATH`. */
export function isOnPath(program: string): boolean {
  return (Deno.env.get("PATH") ?? "").split(":").some((folder) =>
    exists(`${folder}/${program}`)
  );
}

/** Whether a path exists. */
export function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
