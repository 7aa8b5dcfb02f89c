/**
 * The files in `/proc` through which rcap sees one illumos process: pagedata,
 * xmap, psinfo. Their descriptors are kept in a pool.
 *
 * An open descriptor stays with the process it was opened for. One that is opened
 * anew may be of another process that has got the pid, so who has the pid is
 * looked up after that: when the process that is meant still has it, it had it.
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

/** How often a file is read that changes its size meanwhile. */
const ATTEMPTS = 8;

/** From this size on, a file takes the system long to make. */
const LARGE_FILE = 2 ** 20;

/** No larger file is read: as pagedata, it is of 4 TiB of address space. */
const LARGEST_FILE = 2 ** 30;

/** Where processes are seen, and through what. */
export interface ProcAccess {
  readonly libc: IllumosLibc;
  readonly system: IllumosSystem;
  readonly pool: DescriptorPool;
  /** `/proc`, or where it is. */
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
   * What its psinfo says. A record of another process is stale: then the file is
   * opened anew, once.
   *
   * @throws NoSuchProcess when it has exited.
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

  /** One try; `undefined` when the record is stale, or the process gone. */
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
   * @throws ProcessError when it cannot be read.
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
   * @throws ProcessError when it cannot be read.
   */
  async readXmap(): Promise<XmapEntry[]> {
    const file = await this.#read("xmap", (fd, buffer) => {
      checkXmapSize(buffer.length);
      return Promise.resolve(this.#access.libc.readFrom(fd, 0n, buffer));
    });
    return ofProcess(this.pid, () => decodeXmap(file));
  }

  /**
   * Opens its pagedata, so that the system notes references from now on.
   *
   * @throws ProcessError when it cannot be opened.
   */
  openPagedata(): void {
    this.#open("pagedata");
  }

  /** Closes its pagedata. */
  closePagedata(): void {
    this.#close("pagedata");
  }

  /** Where one of its symbolic links points to, `path/a.out` say. */
  readLink(name: string): string {
    const { system, root } = this.#access;
    return ofProcess(
      this.pid,
      () => system.readLink(`${root}/${this.pid}/${name}`),
    );
  }

  /**
   * All of a file whose size is asked for first. A size that has changed until it
   * is read means that the address space has.
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
        // An address space that is gone has no mappings.
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

  /** Opens a file, of exactly the process that is meant. */
  #open(name: "pagedata" | "xmap"): number {
    const { fd, isFresh } = ofProcess(this.pid, () => this.#use(name));
    if (!isFresh) return fd;
    try {
      this.readPsinfo();
    } catch (error) {
      this.#close(name);
      throw error;
    }
    // To read psinfo may have closed it again, when others take every descriptor.
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

/** Does something with a process; errors become errors of that process. */
export function ofProcess<T>(pid: number, step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw processError(pid, error);
  }
}

/** What a failure means for a process; an error of another kind is returned as it is. */
export function processError(pid: number, error: unknown): unknown {
  if (error instanceof MalformedData) {
    return new ProcessError(
      pid,
      `process ${pid}: what the system tells of it makes no sense: ${error.message}`,
      { cause: error },
    );
  }
  return processErrorOf(
    pid,
    error,
    () => "run as root, or with the privileges proc_owner and proc_session",
  );
}
