/**
 * The system calls with which a program opens, executes and follows files, as
 * reported by strace(1).
 *
 * @module
 */

/** A path that a program used. */
export interface Use {
  /** The call as strace prints it. */
  readonly line: string;
  readonly call: string;
  /** The path that was given, as an absolute path. */
  readonly path: string;
  /** The path of the file that the call opened, if it opened one. */
  readonly opened?: string;
  /** Whether it was opened with `O_PATH`, which allows no reading or writing. */
  readonly isOnlyFound: boolean;
}

const CALLS = [
  "open",
  "openat",
  "openat2",
  "creat",
  "execve",
  "execveat",
  "readlink",
  "readlinkat",
  "connect",
];

/** Exit codes of timeout(1) if its program exceeded the time or does not exist. */
const TIMED_OUT = 124;
const NOT_FOUND = 127;

/** How strace runs a program. */
export interface TraceOptions {
  /** The program and its arguments. */
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** The user to run it as. */
  readonly user?: string;
  /** Milliseconds until SIGTERM; SIGKILL follows a second later. */
  readonly deadline: number;
}

/** How a program ended, and the paths that it used. */
export interface Trace {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly uses: readonly Use[];
}

/**
 * Runs a program with all its threads under strace.
 *
 * @throws Error if there is no strace, it traces nothing, or the deadline passes.
 */
export async function trace(options: TraceOptions): Promise<Trace> {
  const folder = Deno.makeTempDirSync({ prefix: "rcap-strace-" });
  try {
    const { code, stdout, stderr } = await new Deno.Command("timeout", {
      args: [
        ...["-k", "1", String(options.deadline / 1000), "strace"],
        // One file per thread, so that lines of different threads do not mix.
        ...["-ff", "-o", `${folder}/thread`],
        // Descriptors with their paths, and paths without truncation.
        ...["-y", "-s", "65536", "-e", `trace=${CALLS.join(",")}`, "-qq"],
        ...(options.user ? ["-u", options.user] : []),
        ...Object.entries(options.env ?? {}).flatMap(([name, value]) => [
          "-E",
          `${name}=${value}`,
        ]),
        "--",
        ...options.command,
      ],
      cwd: options.cwd,
      stdin: "null",
    }).output();
    const text = [...Deno.readDirSync(folder)].map(({ name }) =>
      Deno.readTextFileSync(`${folder}/${name}`)
    ).join("");
    const uses = text.split("\n").flatMap((line) => useOf(line) ?? []);
    const decoder = new TextDecoder();
    if (code === NOT_FOUND) {
      throw new Error("this test needs strace: apt-get install strace");
    }
    if (uses.length === 0 || code === TIMED_OUT) {
      throw new Error(`strace ended with ${code}: ${decoder.decode(stderr)}`);
    }
    return {
      code,
      stdout: decoder.decode(stdout),
      stderr: decoder.decode(stderr),
      uses,
    };
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** Parses a line of strace; `undefined` for signals and exits. */
export function useOf(line: string): Use | undefined {
  const [, call, inside, opened] =
    /^(\w+)\((.*)\) += -?\d+(?:<(.*)>)?(?: .*)?$/.exec(line) ?? [];
  if (call === undefined) return undefined;
  const [quoted] = /"(?:[^"\\]|\\.)*"/.exec(inside) ?? [];
  // The address of a network socket, which is not a path.
  if (
    quoted === undefined || call === "connect" && !inside.includes("sun_path=")
  ) {
    return undefined;
  }
  const given = unquoted(quoted);
  const [, directory = ""] = /^(?:AT_FDCWD|\d+)<(.*?)>, "/.exec(inside) ?? [];
  return {
    line,
    call,
    path: given.startsWith("/") ? given : `${directory}/${given}`,
    opened: opened?.startsWith("/")
      ? opened.replace(/\(deleted\)$/, "")
      : undefined,
    isOnlyFound: /\bO_PATH\b/.test(
      inside.slice(inside.indexOf(quoted) + quoted.length),
    ),
  };
}

/** Decodes a string as strace quotes it, which is C's syntax. */
function unquoted(text: string): string {
  return text.slice(1, -1).replaceAll(
    /\\([0-7]{1,3}|.)/g,
    (_, escape: string) =>
      /^[0-7]/.test(escape)
        ? String.fromCharCode(parseInt(escape, 8))
        : ({ n: "\n", t: "\t", r: "\r", v: "\v", f: "\f" }[escape] ?? escape),
  );
}
