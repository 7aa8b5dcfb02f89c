/**
 * Control over other processes of illumos: `libproc.so.1`.
 *
 * A grabbed process is stopped until it is released. If this process ends in a way
 * that it can notice, it first releases what it has grabbed.
 *
 * Facts: the man pages Pgrab(3PROC), Pcreate_agent(3PROC), Pstate(3PROC),
 * Pwait(3PROC), Prelease(3PROC), pr_memcntl(3PROC), memcntl(2), and `<libproc.h>`
 * and `<sys/mman.h>` of illumos.
 *
 * @module
 */

import { RcapError } from "../lib/errors.ts";
import {
  illumosErrorWords,
  type IllumosLibc,
  openLibrary,
} from "./illumos_libc.ts";

const SYMBOLS = {
  Pcreate_agent: { parameters: ["pointer"], result: "i32" },
  Pgrab: { parameters: ["i32", "i32", "buffer"], result: "pointer" },
  Pgrab_error: { parameters: ["i32"], result: "pointer" },
  Prelease: { parameters: ["pointer", "i32"], result: "void" },
  Pstate: { parameters: ["pointer"], result: "i32" },
  Pwait: { parameters: ["pointer", "u32"], result: "i32" },
  pr_memcntl: {
    parameters: ["pointer", "usize", "usize", "i32", "usize", "i32", "i32"],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

type Calls = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** Results of `Pstate`. */
export const ProcessState = {
  RUN: 1,
  STOP: 2,
  LOST: 3,
  UNDEAD: 4,
  DEAD: 5,
  IDLE: 6,
} as const;

/** Why `Pgrab` refuses a process. */
export const GrabCode = {
  STRANGE: -1,
  NOPROC: 1,
  ZOMB: 5,
  PERM: 6,
  BUSY: 7,
  SYS: 8,
  SELF: 9,
  INTR: 10,
  LP64: 11,
  NOFD: 17,
} as const;

// <sys/mman.h> of illumos.
const MC_SYNC = 1;
const MS_ASYNC = 0x1;
const MS_INVALIDATE = 0x2;

/** A process could not be grabbed. */
export class GrabError extends RcapError {
  override name = "GrabError";
  /** One of {@linkcode GrabCode}. */
  readonly code: number;
  /** The value of `errno`, if the code refers to it. */
  readonly errno: number | undefined;

  constructor(words: string, code: number, errno?: number) {
    super(
      errno === undefined ? words : `${words}: ${illumosErrorWords(errno)}`,
    );
    this.code = code;
    this.errno = errno;
  }
}

/** The library. */
export class Libproc {
  readonly #calls: Calls;
  readonly #libc: IllumosLibc;

  /**
   * @param path `libproc.so.1` or the path of the library.
   * @param libc the C library that holds the errors of its calls.
   * @throws CapabilityError if it cannot be loaded, or lacks a function.
   */
  constructor(path: string, libc: IllumosLibc) {
    this.#calls = openLibrary(path, SYMBOLS);
    this.#libc = libc;
  }

  /**
   * Stops a process and takes control of it.
   *
   * @throws GrabError if the grab is refused; the process continues to run.
   */
  grab(pid: number): GrabbedProcess {
    releaseBeforeTheEnd();
    const error = new Int32Array(1);
    const handle = this.#calls.Pgrab(pid, 0, new Uint8Array(error.buffer));
    if (handle === null) {
      const [code] = error;
      const errno = code === GrabCode.STRANGE ? this.#libc.errno() : undefined;
      throw new GrabError(this.#grabError(code), code, errno);
    }
    return new GrabbedProcess(handle, this.#calls, this.#libc);
  }

  #grabError(code: number): string {
    const words = this.#calls.Pgrab_error(code);
    return words === null
      ? `code ${code}`
      : Deno.UnsafePointerView.getCString(words);
  }
}

/** A process that is grabbed; `using` releases it. */
export class GrabbedProcess implements Disposable {
  readonly #calls: Calls;
  readonly #libc: IllumosLibc;
  #handle: Deno.PointerObject | null;

  constructor(handle: Deno.PointerObject, calls: Calls, libc: IllumosLibc) {
    this.#handle = handle;
    this.#calls = calls;
    this.#libc = libc;
    held.add(this);
  }

  /** Its state: one of {@linkcode ProcessState}. */
  state(): number {
    return this.#calls.Pstate(this.#grabbed());
  }

  /**
   * Waits until it stops, but no longer than this many milliseconds, which must be
   * greater than 0.
   */
  wait(milliseconds: number): void {
    this.#calls.Pwait(this.#grabbed(), milliseconds);
  }

  /**
   * Creates the agent, the thread in it that executes requested system calls.
   *
   * @returns whether the agent was created.
   */
  createAgent(): boolean {
    return this.#calls.Pcreate_agent(this.#grabbed()) === 0;
  }

  /**
   * Makes it page out a range of its memory.
   *
   * @returns 0, or the error number.
   */
  pageOut(start: bigint, bytes: number): number {
    const result = this.#calls.pr_memcntl(
      this.#grabbed(),
      start,
      BigInt(bytes),
      MC_SYNC,
      BigInt(MS_ASYNC | MS_INVALIDATE),
      0,
      0,
    );
    return result === 0 ? 0 : this.#libc.errno();
  }

  /** Returns the handle, unless the library has freed it. */
  #grabbed(): Deno.PointerObject {
    if (this.#handle === null) throw new RcapError("the process is released");
    return this.#handle;
  }

  /** Releases it: the agent is destroyed, and the process runs again. */
  [Symbol.dispose](): void {
    const handle = this.#handle;
    if (handle === null) return;
    this.#handle = null;
    held.delete(this);
    this.#calls.Prelease(handle, 0);
  }
}

/** The processes that are grabbed now. */
const held = new Set<GrabbedProcess>();

let releases = false;

/**
 * Makes sure that grabbed processes are released even if they are not disposed of:
 * before this process exits or ends because of an uncaught error.
 */
function releaseBeforeTheEnd(): void {
  if (releases) return;
  releases = true;
  for (const event of ["unload", "error", "unhandledrejection"]) {
    addEventListener(event, () => {
      for (const grabbed of held) grabbed[Symbol.dispose]();
    });
  }
}
