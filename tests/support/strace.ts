/**
 * The system calls with which a program opens, executes and follows files, as
 * strace(1) sees them.
 *
 * @module
 */

/** A path that a program used. */
export interface Use {
  /** The call, as strace writes it. */
  readonly line: string;
  readonly call: string;
  /** The path that was given, from the root. */
  readonly path: string;
  /** What was opened by it in the end, where the call has opened something. */
  readonly opened?: string;
  /** Whether it was only found, with `O_PATH`: nothing is read or written so. */
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

/** How timeout(1) ends when its program did not in time, or is not there. */
const TIMED_OUT = 124;
const NOT_FOUND = 127;

/** How strace is to run a program. */
export interface TraceOptions {
  /** The program and its arguments. */
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** The user to run it as. */
  readonly user?: string;
  /** After so many milliseconds it ends by SIGTERM, a second later by SIGKILL. */
  readonly deadline: number;
}

/** How a program ended, and what it used. */
export interface Trace {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly uses: readonly Use[];
}

/**
 * Runs a program under strace, all its threads too.
 *
 * @throws Error when there is no strace, it traces nothing, or the deadline passes.
 */
export async function trace(options: TraceOptions): Promise<Trace> {
  const folder = Deno.makeTempDirSync({ prefix: "rcap-strace-" });
  try {
    const { code, stdout, stderr } = await new Deno.Command("timeout", {
      args: [
        ...["-k", "1", String(options.deadline / 1000), "strace"],
        // A file a thread: no line is interrupted by those of another.
        ...["-ff", "-o", `${folder}/thread`],
        // Descriptors with their paths, and paths in full.
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

/** What a line of strace tells; nothing of signals and ends. */
export function useOf(line: string): Use | undefined {
  const [, call, inside, opened] =
    /^(\w+)\((.*)\) += -?\d+(?:<(.*)>)?(?: .*)?$/.exec(line) ?? [];
  if (call === undefined) return undefined;
  const [quoted] = /"(?:[^"\\]|\\.)*"/.exec(inside) ?? [];
  // An address that is no path, of a socket to another machine.
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

/** A string as strace quotes it: as C does. */
function unquoted(text: string): string {
  return text.slice(1, -1).replaceAll(
    /\\([0-7]{1,3}|.)/g,
    (_, escape: string) =>
      /^[0-7]/.test(escape)
        ? String.fromCharCode(parseInt(escape, 8))
        : ({ n: "\n", t: "\t", r: "\r", v: "\v", f: "\f" }[escape] ?? escape),
  );
}
