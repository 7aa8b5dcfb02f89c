/**
 * Writes the archive that a Linux kernel unpacks as its first root file system:
 * cpio in the "newc" format, see the kernel's
 * driver-api/early-userspace/buffer-format.rst.
 *
 * @module
 */

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;

/** Where the headers and contents of files start. */
const ALIGNMENT = 4;

/** Appends entries to a file; disposing closes it, finished or not. */
export class CpioWriter implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #encoder = new TextEncoder();
  #entries = 0;
  #offset = 0;

  constructor(path: string) {
    this.#file = Deno.openSync(path, {
      create: true,
      truncate: true,
      write: true,
    });
  }

  /** Adds a folder; those above it must have been added before. */
  folder(path: string): void {
    this.#entry(path, S_IFDIR | 0o755, new Uint8Array());
  }

  /** Adds a file that everybody may read and run. */
  file(path: string, contents: Uint8Array<ArrayBuffer>): void {
    this.#entry(path, S_IFREG | 0o755, contents);
  }

  /** Adds a symbolic link. */
  link(path: string, target: string): void {
    this.#entry(path, S_IFLNK | 0o777, this.#encoder.encode(target));
  }

  /** Writes the end of the archive. */
  finish(): void {
    this.#entry("TRAILER!!!", 0, new Uint8Array());
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }

  #entry(path: string, mode: number, contents: Uint8Array<ArrayBuffer>): void {
    const name = this.#encoder.encode(`${path}\0`);
    const fields = [
      ++this.#entries, // inode
      mode,
      0, // uid
      0, // gid
      1, // links
      0, // time
      contents.length,
      0, // device, major and minor
      0,
      0, // device that a special file is of, major and minor
      0,
      name.length,
      0, // checksum, of another format
    ];
    const header = "070701" +
      fields.map((it) => it.toString(16).padStart(8, "0")).join("");
    this.#write(this.#encoder.encode(header));
    this.#write(name);
    this.#align();
    this.#write(contents);
    this.#align();
  }

  #align(): void {
    this.#write(new Uint8Array(-this.#offset & ALIGNMENT - 1));
  }

  #write(bytes: Uint8Array<ArrayBuffer>): void {
    for (let written = 0; written < bytes.length;) {
      written += this.#file.writeSync(bytes.subarray(written));
    }
    this.#offset += bytes.length;
  }
}
