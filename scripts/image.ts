/**
 * Makes an OCI image of the binary, and of the libraries that it needs from Debian:
 * mmdebstrap(1) unpacks them, buildah(1) packs them with the binary. The same binary and
 * packages make the same layers.
 *
 *     scripts/denow task image [BINARY [NAME]]
 *
 * The binary is `dist/rcap` by default, the name `localhost/rcap` with the version.
 *
 * @module
 */

import denoJson from "../deno.json" with { type: "json" };
import { complain, say } from "../tests/support/say.ts";

const ROOT = new URL("..", import.meta.url).pathname;

/** What the binary is linked to, and what says which system it is. */
const PACKAGES = ["base-files", "libc6", "libgcc-s1"];
const RELEASE = "bookworm";

const PROGRAM = "/usr/bin/rcap";

/** Where the container has the file system of the machine. */
const HOST_ROOT = "/host";

/** The time of all files, in seconds since the epoch, unless SOURCE_DATE_EPOCH says another. */
const EPOCH = "1700000000";

/** Makes the image. @throws Error if a program is missing, or fails. */
async function makeImage(binary: string, name: string): Promise<void> {
  const env = {
    SOURCE_DATE_EPOCH: Deno.env.get("SOURCE_DATE_EPOCH") || EPOCH,
  };
  const folder = Deno.makeTempDirSync({ prefix: "rcap-image-" });
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => Deno.remove(folder, { recursive: true }));
  const base = `${folder}/base.tar`;
  await run("mmdebstrap", [
    "--quiet",
    "--variant=extract",
    `--include=${PACKAGES.join(",")}`,
    RELEASE,
    base,
  ], env);
  const container = await run("buildah", ["from", "scratch"]);
  cleanup.defer(async () => {
    await run("buildah", ["rm", container]);
  });
  await run("buildah", ["add", "--quiet", container, base, "/"]);
  await run("buildah", ["copy", "--quiet", container, binary, PROGRAM]);
  await run("buildah", [
    "config",
    `--entrypoint=${JSON.stringify([PROGRAM])}`,
    `--cmd=run --host-root ${HOST_ROOT}`,
    "--label=org.opencontainers.image.title=rcap",
    `--label=org.opencontainers.image.version=${denoJson.version}`,
    `--label=org.opencontainers.image.licenses=${denoJson.license}`,
    container,
  ]);
  await run("buildah", [
    "commit",
    "--quiet",
    `--timestamp=${env.SOURCE_DATE_EPOCH}`,
    container,
    name,
  ]);
}

/** Runs a program; returns what it prints. */
async function run(
  program: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<string> {
  const output = await new Deno.Command(program, { args, env, stdin: "null" })
    .output().catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      throw new Error(
        `${program} is missing; apt-get install buildah mmdebstrap`,
      );
    });
  const decoder = new TextDecoder();
  if (output.success) return decoder.decode(output.stdout).trim();
  throw new Error(
    `${program} ${args.join(" ")}: ${decoder.decode(output.stderr).trim()}`,
  );
}

if (import.meta.main) {
  const [
    binary = `${ROOT}dist/rcap`,
    name = `localhost/rcap:${denoJson.version}`,
  ] = Deno.args;
  try {
    await makeImage(binary, name);
    say(`Made ${name}`);
  } catch (error) {
    complain(error instanceof Error ? error.message : `${error}`);
    Deno.exit(1);
  }
}
