/**
 * Facts about an illumos machine besides its processes: directories, memory, swap,
 * users, zones, limits, signals, clocks.
 *
 * Facts: the man pages readlink(2), sigaction(2), swapctl(2), sysconf(3C),
 * clock_gettime(3C), getpwnam(3C), getzoneid(3C), and `<unistd.h>` of illumos.
 *
 * @module
 */

import {
  illumosErrorWords,
  type IllumosLibc,
  openLibrary,
} from "./illumos_libc.ts";
import { PASSWD_UID, SIGACTION, SWAPENT } from "./illumos_structs.ts";
import { cString } from "./libc.ts";
import { StructReader } from "./struct.ts";
import { uidByName } from "./user_name.ts";

const SYMBOLS = {
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
  geteuid: { parameters: [], result: "u32" },
  // The name that <pwd.h> gives to the POSIX variant of getpwnam_r.
  getpwnamAway: {
    name: "__posix_getpwnam_r",
    parameters: ["buffer", "buffer", "buffer", "usize", "buffer"],
    result: "i32",
    nonblocking: true,
  },
  getzoneid: { parameters: [], result: "i32" },
  getzoneidbyname: { parameters: ["buffer"], result: "i32" },
  sigaction: { parameters: ["i32", "pointer", "buffer"], result: "i32" },
  readlink: { parameters: ["buffer", "buffer", "usize"], result: "isize" },
  swapctl: { parameters: ["i32", "buffer"], result: "i32" },
  sysconf: { parameters: ["i32"], result: "i64" },
} as const satisfies Deno.ForeignLibraryInterface;

// <sys/unistd.h> of illumos.
const SC_OPEN_MAX = 5;
const SC_PAGESIZE = 11;
const SC_PHYS_PAGES = 500;
const SC_AVPHYS_PAGES = 501;

// <sys/swap.h> of illumos.
const SC_LIST = 2;
const SC_GETNSWP = 4;

// <sys/iso/signal_iso.h> of illumos.
const SIGHUP = 1;
const SIG_IGN = 1n;

/** <sys/time_impl.h> of illumos: a monotonic clock. */
const CLOCK_HIGHRES = 4;

/** Longest path: `MAXPATHLEN` of <sys/param.h>. */
const PATH_MAX = 1024;

/** Swap of the machine, in bytes. */
export interface Swap {
  readonly total: number;
  readonly free: number;
}

const decoder = new TextDecoder();

/** Facts about the machine. */
export class IllumosSystem {
  readonly #libc: IllumosLibc;
  readonly #calls: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

  /**
   * @param path the C library of `libc`.
   * @throws CapabilityError if it lacks a function.
   */
  constructor(path: string, libc: IllumosLibc) {
    this.#libc = libc;
    this.#calls = openLibrary(path, SYMBOLS);
  }

  /** Size of the smallest pages, in bytes. */
  pageSize(): number {
    return this.#configured(SC_PAGESIZE);
  }

  /** Physical memory, in bytes. */
  totalMemory(): number {
    return this.#configured(SC_PHYS_PAGES) * this.pageSize();
  }

  /** Physical memory that is free, in bytes. */
  freeMemory(): number {
    return this.#configured(SC_AVPHYS_PAGES) * this.pageSize();
  }

  /** How many descriptors this process may have open. */
  descriptorLimit(): number {
    return this.#configured(SC_OPEN_MAX);
  }

  /** The total of all swap devices and files. */
  swap(): Swap {
    const count = this.#libc.checked(
      this.#calls.swapctl(SC_GETNSWP, null),
      "swapctl SC_GETNSWP",
    );
    // struct swaptable: the number of entries, then the entries, each with a buffer
    // for its path.
    const table = new Uint8Array(8 + count * SWAPENT.size);
    const paths = new Uint8Array(Math.max(1, count * PATH_MAX));
    const view = new DataView(table.buffer);
    const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(paths));
    view.setInt32(0, count, true);
    for (let index = 0; index < count; index++) {
      const [offset] = SWAPENT.fields.ste_path;
      view.setBigUint64(
        8 + index * SWAPENT.size + offset,
        BigInt(address) + BigInt(index * PATH_MAX),
        true,
      );
    }
    const listed = this.#libc.checked(
      this.#calls.swapctl(SC_LIST, table),
      "swapctl SC_LIST",
    );
    const reader = new StructReader(SWAPENT, table);
    let [total, free] = [0, 0];
    for (let index = 0; index < Math.min(listed, count); index++) {
      reader.moveTo(8 + index * SWAPENT.size);
      total += reader.number("ste_pages");
      free += reader.number("ste_free");
    }
    return { total: total * this.pageSize(), free: free * this.pageSize() };
  }

  /** The time in seconds on a monotonic clock, which is the same for all processes. */
  monotonicSeconds(): number {
    const timespec = new BigInt64Array(2);
    this.#libc.checked(
      this.#calls.clock_gettime(CLOCK_HIGHRES, timespec),
      "clock_gettime",
    );
    return Number(timespec[0]) + Number(timespec[1]) / 1e9;
  }

  /** The zone of this process. */
  zoneId(): number {
    return this.#libc.checked(this.#calls.getzoneid(), "getzoneid");
  }

  /** Whether SIGHUP is ignored, as under nohup(1). */
  ignoresHangup(): boolean {
    const action = new Uint8Array(SIGACTION.size);
    this.#libc.checked(
      this.#calls.sigaction(SIGHUP, null, action),
      "sigaction SIGHUP",
    );
    return new StructReader(SIGACTION, action).bigint("sa_handler") === SIG_IGN;
  }

  /** The user whose permissions rcap has. */
  effectiveUid(): number {
    return this.#calls.geteuid();
  }

  /**
   * The id of a user by name; `undefined` if there is no such user. Looks it up on
   * another thread.
   *
   * @throws SystemError if the lookup fails.
   */
  uidOfUser(name: string): Promise<number | undefined> {
    return uidByName(name, {
      lookUp: (...buffers) => this.#calls.getpwnamAway(...buffers),
      uidAt: PASSWD_UID,
      words: illumosErrorWords,
    });
  }

  /** The id of a booted zone by name; `undefined` if there is none. */
  zoneIdOf(name: string): number | undefined {
    const id = this.#calls.getzoneidbyname(cString(name));
    return id < 0 ? undefined : id;
  }

  /** The target of a symbolic link. */
  readLink(path: string): string {
    const buffer = new Uint8Array(PATH_MAX);
    const length = this.#libc.checked(
      this.#calls.readlink(cString(path), buffer, BigInt(buffer.length)),
      `readlink ${path}`,
    );
    return decoder.decode(buffer.subarray(0, length));
  }

  /**
   * The names in a directory, without `.` and `..`.
   *
   * @throws SystemError if it cannot be read.
   */
  readDirectory(path: string): string[] {
    const fd = this.#libc.open(path);
    try {
      return this.#libc.names(fd, path);
    } finally {
      this.#libc.close(fd);
    }
  }

  #configured(name: number): number {
    return this.#libc.checked(this.#calls.sysconf(name), `sysconf ${name}`);
  }
}
