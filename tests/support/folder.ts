/**
 * A folder for the files of a test.
 *
 * @module
 */

/** A temporary folder of its own, removed with all that is in it on disposal. */
export class Folder implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "rcap-" });

  /** The path of a file in it. */
  file(name: string): string {
    return `${this.path}/${name}`;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}
