/**
 * Builds one self-contained binary: `dist/rcap` or the file that is given.
 *
 * @module
 */

import { PERMISSIONS } from "./permissions.ts";
import denoJson from "../deno.json" with { type: "json" };
import { complain } from "../tests/support/say.ts";

const ROOT = new URL("..", import.meta.url).pathname;

/** How long the binary may take to print its version, in milliseconds. */
const START_MS = 60_000;

/**
 * Keeps the daemon small: little garbage accumulates before a collection, and the
 * daemon can request full collections.
 */
const V8_FLAGS = ["--max-semi-space-size=2", "--expose-gc"];

/**
 * The options of `deno bundle`. One module for each command takes a fraction of the
 * time and memory that hundreds of files take to load. Not minified: esbuild 0.25.5
 * takes a `using` variable that is used once for a constant, and drops its disposal.
 */
const BUNDLE_FLAGS: readonly string[] = [
  "--quiet",
  "--frozen",
  "--platform=deno",
  "--code-splitting",
];

/**
 * Goes before the bundle: `require` for the packages in it that are CommonJS modules,
 * which require modules of Node.js. Modules have none of their own.
 */
const REQUIRE =
  'import{createRequire}from"node:module";globalThis.require=createRequire(import.meta.url);\n';

/** The options of `deno compile`. */
export const COMPILE_FLAGS: readonly string[] = [
  // Everything is in the bundle.
  "--no-config",
  "--no-check",
  // The cache would be compiled code in a file of /tmp with a predictable name,
  // which is loaded whoever owns it.
  "--no-code-cache",
  ...PERMISSIONS,
  `--v8-flags=${V8_FLAGS.join(",")}`,
];

/**
 * Builds the binary and runs it once, because `deno compile` accepts any file as a
 * runtime and does not check whether the result starts.
 *
 * @param output the path of the binary.
 * @throws Error if the binary cannot be built or does not work.
 */
async function build(output: string): Promise<void> {
  const bundle = Deno.makeTempDirSync({ prefix: "rcap-bundle-" });
  try {
    if (
      !await runDeno(["bundle", ...BUNDLE_FLAGS, "--outdir", bundle, "main.ts"])
    ) {
      throw new Error(
        "deno bundle failed. It takes esbuild from npm, whose registry it has to reach once; see CONTRIBUTING.md",
      );
    }
    const entry = `${bundle}/main.js`;
    Deno.writeTextFileSync(entry, REQUIRE + Deno.readTextFileSync(entry));
    // Their times get into the binary, and are all that differs between two builds.
    for (const { name } of Deno.readDirSync(bundle)) {
      Deno.utimeSync(`${bundle}/${name}`, 0, 0);
    }
    if (
      !await runDeno([
        "compile",
        ...COMPILE_FLAGS,
        "--output",
        output,
        entry,
      ])
    ) {
      throw new Error(
        "deno compile failed. It downloads its runtime, denort, from dl.deno.land " +
          "unless DENORT_BIN names the file; see CONTRIBUTING.md",
      );
    }
  } finally {
    Deno.removeSync(bundle, { recursive: true });
  }
  const problem = await problemOf(output);
  if (problem === undefined) return;
  Deno.removeSync(output);
  const runtime = Deno.env.get("DENORT_BIN");
  throw new Error(
    `${output} ${problem}; it was removed. The runtime in it ` +
      (runtime === undefined ? "" : `(DENORT_BIN=${runtime}) `) +
      `does not fit Deno ${Deno.version.deno}: ` +
      `set DENORT_BIN to the denort of this version, or build with the matching Deno; see CONTRIBUTING.md`,
  );
}

/** Runs a command of Deno; returns whether it succeeded. */
async function runDeno(args: string[]): Promise<boolean> {
  const { success } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: ROOT,
    // The analysis of npm packages needs more than a thread's usual 2 MiB of stack:
    // Deno 2.6.8 overflows it.
    env: { RUST_MIN_STACK: String(64 * 2 ** 20) },
  }).spawn().status;
  return success;
}

/**
 * Returns what is wrong with a binary; `undefined` if it prints the version of this
 * source.
 */
async function problemOf(binary: string): Promise<string | undefined> {
  const signal = AbortSignal.timeout(START_MS);
  const { code, stdout, stderr } = await new Deno.Command(binary, {
    args: ["--version"],
    signal,
  }).output();
  if (signal.aborted) return `has not ended after ${START_MS / 1000} s`;
  const [printed, complaint] = [stdout, stderr]
    .map((bytes) => new TextDecoder().decode(bytes).trim().split("\n")[0]);
  if (code !== 0) {
    return `does not start (exit code ${code}${complaint && `: ${complaint}`})`;
  }
  return printed === denoJson.version
    ? undefined
    : `prints ${
      JSON.stringify(printed)
    } as its version, not ${denoJson.version}`;
}

if (import.meta.main) {
  try {
    await build(Deno.args[0] ?? `${ROOT}dist/rcap`);
  } catch (error) {
    complain(error instanceof Error ? error.message : error);
    Deno.exit(1);
  }
}
