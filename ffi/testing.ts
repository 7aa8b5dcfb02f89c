/**
 * Support for tests: memory of the test's own process in which exactly the chosen
 * pages are resident.
 *
 * @module
 */

// Everything that starts processes has a deadline.
import "../tests/support/deadline.ts";
import { libc } from "./libc.ts";
import { pageSize } from "./system.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

// <sys/mman.h> of Linux.
const PROT_NONE = 0;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_PRIVATE = 0x02;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const MADV_NOHUGEPAGE = 15;

const calls = Deno.dlopen("libc.so.6", {
  mlock: { parameters: ["usize", "usize"], result: "i32" },
  mprotect: { parameters: ["usize", "usize", "i32"], result: "i32" },
}).symbols;

/**
 * Anonymous memory that is exactly one mapping in maps. No page is resident until
 * it is touched, and touching makes only that page resident.
 */
export class OwnMemory implements Disposable {
  /** Address of the first byte. */
  readonly start: bigint;
  readonly pages: number;
  readonly pageSize: number = pageSize();

  constructor(pages: number) {
    this.pages = pages;
    const size = this.#size(1);
    // Placed between two inaccessible pages, which keep it from being merged with a
    // neighbour.
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    this.#all = libc().mmap(
      0n,
      this.#size(pages + 2),
      PROT_NONE,
      flags,
      -1,
      0n,
    );
    this.start = this.#all + size;
    this.#protect(0, pages, PROT_READ | PROT_WRITE);
    // Fails if the kernel has no huge pages, which is just as good.
    libc().madvise(this.start, this.#size(pages), MADV_NOHUGEPAGE);
  }

  readonly #all: bigint;

  /** Address after the last byte. */
  get end(): bigint {
    return this.start + this.#size(this.pages);
  }

  /** Number of the first page: its address divided by the page size. */
  get firstPage(): number {
    return Number(this.start) / this.pageSize;
  }

  /** All of it, as `PageSpan` of `./pagemap.ts`. */
  get span(): { firstPage: number; pages: number; pageSize: number } {
    const { firstPage, pages, pageSize } = this;
    return { firstPage, pages, pageSize };
  }

  /** Writes to pages, so that they become resident. */
  write(firstPage: number, pages = 1): void {
    for (let page = firstPage; page < firstPage + pages; page++) {
      new Uint8Array(this.#view(page).getArrayBuffer(1))[0] = 1;
    }
  }

  /**
   * Reads a byte of each page. If `RCAP_NO_ZERO_PAGE` is set, writes to it instead,
   * because on machines without a zero page a read allocates an ordinary page.
   */
  read(firstPage: number, pages = 1): void {
    if (Deno.env.has("RCAP_NO_ZERO_PAGE")) return this.write(firstPage, pages);
    for (let page = firstPage; page < firstPage + pages; page++) {
      this.#view(page).getUint8();
    }
  }

  /** Locks pages in memory. */
  lock(firstPage: number, pages: number): void {
    this.#check(calls.mlock(this.#address(firstPage), this.#size(pages)));
  }

  /** Turns every second page into a mapping of its own by making it read-only. */
  split(): void {
    for (let page = 1; page < this.pages; page += 2) {
      this.#protect(page, 1, PROT_READ);
    }
  }

  [Symbol.dispose](): void {
    libc().munmap(this.#all, this.#size(this.pages + 2));
  }

  #protect(page: number, pages: number, protection: number): void {
    this.#check(
      calls.mprotect(this.#address(page), this.#size(pages), protection),
    );
  }

  #view(page: number): Deno.UnsafePointerView {
    const pointer = Deno.UnsafePointer.create(this.#address(page));
    if (pointer === null) throw new Error("no memory");
    return new Deno.UnsafePointerView(pointer);
  }

  #address(page: number): bigint {
    return this.start + this.#size(page);
  }

  #size(pages: number): bigint {
    return BigInt(pages * this.pageSize);
  }

  #check(result: number): void {
    if (result !== 0) {
      throw new Error("the memory for the test cannot be set up");
    }
  }
}

/**
 * Number of processors of the machine: proc_stat(5).
 * `navigator.hardwareConcurrency` returns fewer if the cgroup has a quota.
 */
export function processors(): number {
  return [...Deno.readTextFileSync("/proc/stat").matchAll(/^cpu\d/gm)].length;
}

/** A process that sleeps; killed and reaped when disposed. */
export class Sleeper implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
  }

  /** Starts it and waits until it sleeps and its memory no longer changes. */
  static async start(): Promise<Sleeper> {
    const child = new Deno.Command("perl", {
      args: ["-e", "close STDOUT; sleep"],
      stdout: "piped",
    }).spawn();
    await child.stdout.text();
    return new Sleeper(child);
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Kills it and waits until it is gone, zombie and all. */
  async end(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.end();
    } catch (error) {
      // It has already ended.
      if (!(error instanceof TypeError)) throw error;
    }
  }
}

/** A process that sleeps, and whose parent does not reap it. */
export class UnreapedSleeper implements AsyncDisposable {
  /** The process id. */
  readonly pid: number;
  readonly #parent: Deno.ChildProcess;

  private constructor(parent: Deno.ChildProcess, pid: number) {
    this.#parent = parent;
    this.pid = pid;
  }

  /** Starts it and its parent. */
  static async start(): Promise<UnreapedSleeper> {
    const parent = new Deno.Command("perl", {
      args: [
        "-e",
        "my $pid = fork // die; print $pid if $pid; close STDOUT; sleep",
      ],
      stdout: "piped",
    }).spawn();
    return new UnreapedSleeper(parent, Number(await parent.stdout.text()));
  }

  /** Kills it and waits until it is a zombie, which has released its memory. */
  async end(): Promise<void> {
    Deno.kill(this.pid, "SIGKILL");
    const stat = `/proc/${this.pid}/stat`;
    while (!Deno.readTextFileSync(stat).includes(") Z ")) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    Deno.kill(this.pid, "SIGKILL");
    this.#parent.kill("SIGKILL");
    await this.#parent.status;
  }
}
