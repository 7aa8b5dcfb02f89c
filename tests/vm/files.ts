/**
 * Files that need not be there, and files somewhere below a folder.
 *
 * @module
 */

/** Milliseconds since a file was written; infinite where there is none. */
export function ageOf(path: string): number {
  try {
    return Date.now() - (Deno.statSync(path).mtime?.getTime() ?? 0);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return Infinity;
    throw error;
  }
}

/** The text of a file, or `undefined` where there is none. */
export function readIfAny(path: string): string | undefined {
  return ageOf(path) < Infinity ? Deno.readTextFileSync(path) : undefined;
}

/** Removes a file or folder with all that is in it, where there is one. */
export function remove(path: string): void {
  if (ageOf(path) < Infinity) Deno.removeSync(path, { recursive: true });
}

/** Everything below a folder but folders. */
export function* filesBelow(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    const path = `${folder}/${name}`;
    if (isDirectory) yield* filesBelow(path);
    else yield path;
  }
}
