/**
 * The files in `/proc` through which rcap sees one illumos process: pagedata,
 * xmap, psinfo. Their descriptors are kept in a pool.
 *
 * An open descriptor always refers to the process it was opened for. A new descriptor
 * may be that of another process that reuses the pid. So after opening a file, rcap
 * checks which process has the pid: if it is still the right one, it was then, too.
 *
 * @module
 */

import { IllumosErrno, type IllumosLibc } from "../../../ffi/illumos_libc.ts";
import { PSINFO } from "../../../ffi/illumos_structs.ts";
import type { IllumosSystem } from "../../../ffi/illumos_system.ts";
import { MalformedData } from "../../../ffi/struct.ts";
import { isMissing, ProcessError, SystemError } from "../../errors.ts";
import type { Pagedata } from "../../memory/pagedata.ts";
import type { ProcessId } from "../platform.ts";
import { exited, processErrorOf, replacedPid } from "../process_errors.ts";
import type { DescriptorPool } from "./descriptor_pool.ts";
import { decodePagedata } from "./pagedata_file.ts";
import { decodePsinfo, type Psinfo } from "./psinfo_file.ts";
import { checkXmapSize, decodeXmap, type XmapEntry } from "./xmap_file.ts";

/** How often to try to read a file whose size changes meanwhile. */
const ATTEMPTS = 8;

/** The system takes long to produce files of this size, in bytes, or larger. */
const LARGE_FILE = 2 ** 20;

/** The largest file that is read, in bytes: pagedata of 4 TiB of address space. */
const LARGEST_FILE = 2 ** 30;

/** How processes are accessed. */
export interface ProcAccess {
  readonly libc: IllumosLibc;
  readonly system: IllumosSystem;
  readonly pool: DescriptorPool;
  /** The directory of processes, usually `/proc`. */
  readonly root: string;
}

/** The files of one process. */
export class ProcessFiles {
  readonly #id: ProcessId;
  readonly #access: ProcAccess;

  constructor(id: ProcessId, access: ProcAccess) {
    this.#id = id;
    this.#access = access;
  }

  get pid(): number {
    return this.#id.pid;
  }

  /**
   * Reads its psinfo. If the record is stale, that is of another process, the file is
   * opened again, once.
   *
   * @throws NoSuchProcess if it has exited.
   */
  readPsinfo(): Psinfo {
    return ofProcess(this.pid, () => {
      const psinfo = this.#readPsinfo() ?? this.#readPsinfo();
      if (psinfo === undefined || psinfo.isZombie) throw exited(this.pid);
      if (psinfo.startTime !== this.#id.startTime) {
        this.#close("psinfo");
        throw replacedPid(this.pid);
      }
      return psinfo;
    });
  }

  /** Tries once; `undefined` if the record is stale, or the process has exited. */
  #readPsinfo(): Psinfo | undefined {
    const buffer = new Uint8Array(PSINFO.size);
    try {
      const { fd } = this.#use("psinfo");
      const length = this.#access.libc.readFrom(fd, 0n, buffer);
      const psinfo = decodePsinfo(buffer.subarray(0, length));
      if (psinfo.pid === this.pid) return psinfo;
    } catch (error) {
      this.#close("psinfo");
      if (!isMissing(error) && !(error instanceof MalformedData)) throw error;
      return undefined;
    }
    this.#close("psinfo");
    return undefined;
  }

  /**
   * Reads its pagedata, which resets the bits.
   *
   * @param bits which bits of a page to keep.
   * @throws ProcessError if it cannot be read.
   */
  async readPagedata(bits?: number): Promise<Pagedata> {
    const file = await this.#read("pagedata", async (fd, buffer) => {
      const { libc } = this.#access;
      return buffer.length < LARGE_FILE
        ? libc.read(fd, buffer)
        : await libc.readAway(fd, buffer);
    });
    return ofProcess(this.pid, () => decodePagedata(file, bits));
  }

  /**
   * Reads its xmap.
   *
   * @throws ProcessError if it cannot be read.
   */
  async readXmap(): Promise<XmapEntry[]> {
    const file = await this.#read("xmap", (fd, buffer) => {
      checkXmapSize(buffer.length);
      return Promise.resolve(this.#access.libc.readFrom(fd, 0n, buffer));
    });
    return ofProcess(this.pid, () => decodeXmap(file));
  }

  /**
   * Opens its pagedata, so that the system records references from now on.
   *
   * @throws ProcessError if it cannot be opened.
   */
  openPagedata(): void {
    this.#open("pagedata");
  }

  /** Closes its pagedata. */
  closePagedata(): void {
    this.#close("pagedata");
  }

  /** Returns the target of one of its symbolic links, for example `path/a.out`. */
  readLink(name: string): string {
    const { system, root } = this.#access;
    return ofProcess(
      this.pid,
      () => system.readLink(`${root}/${this.pid}/${name}`),
    );
  }

  /**
   * Reads a whole file. Determines its size first; if the size has changed by the time
   * of the read, the address space has, and the file is read again.
   */
  async #read(
    name: "pagedata" | "xmap",
    read: (fd: number, buffer: Uint8Array<ArrayBuffer>) => Promise<number>,
  ): Promise<Uint8Array<ArrayBuffer>> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const fd = this.#open(name);
      try {
        const size = this.#access.libc.size(fd);
        if (size < 0 || size > LARGEST_FILE) {
          throw new MalformedData(`${name} has ${size} bytes`);
        }
        const buffer = new Uint8Array(size);
        const length = size === 0 ? 0 : await read(fd, buffer);
        // The file is empty if the address space no longer exists.
        if (length === 0) throw exited(this.pid);
        if (length === size) return buffer;
      } catch (error) {
        const isChanged = error instanceof SystemError &&
          error.errno === IllumosErrno.E2BIG;
        if (isChanged) continue;
        this.#close(name);
        throw processError(this.pid, error);
      }
    }
    this.#close(name);
    throw new ProcessError(
      this.pid,
      `process ${this.pid}: its ${name} changes faster than it can be read`,
    );
  }

  /** Opens a file of exactly this process. */
  #open(name: "pagedata" | "xmap"): number {
    const { fd, isFresh } = ofProcess(this.pid, () => this.#use(name));
    if (!isFresh) return fd;
    try {
      this.readPsinfo();
    } catch (error) {
      this.#close(name);
      throw error;
    }
    // Reading psinfo may have closed it again if descriptors are scarce.
    const again = ofProcess(this.pid, () => this.#use(name));
    if (!again.isFresh) return again.fd;
    this.#close(name);
    throw new ProcessError(
      this.pid,
      `process ${this.pid}: no descriptor is left to read it; raise the limit (ulimit -n)`,
    );
  }

  #use(name: string) {
    const { pool, root } = this.#access;
    return pool.use(this.#key(name), `${root}/${this.pid}/${name}`);
  }

  #close(name: string): void {
    this.#access.pool.close(this.#key(name));
  }

  #key(name: string): string {
    return `${this.pid} ${this.#id.startTime} ${name}`;
  }
}

/** Runs a step for a process, and turns its errors into errors of that process. */
export function ofProcess<T>(pid: number, step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw processError(pid, error);
  }
}

/** Turns a failure into an error of a process; returns other errors unchanged. */
export function processError(pid: number, error: unknown): unknown {
  if (error instanceof MalformedData) {
    return new ProcessError(
      pid,
      `process ${pid}: the system's data about it makes no sense: ${error.message}`,
      { cause: error },
    );
  }
  return processErrorOf(
    pid,
    error,
    () => "run as root, or with the privileges proc_owner and proc_session",
  );
}
