/**
 * Writes the files of packages.
 *
 * @module
 */

/** Writes a file with its folders. */
export function write(
  path: string,
  content: string | Uint8Array,
  mode = 0o644,
): void {
  Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), {
    recursive: true,
    mode: 0o755,
  });
  const bytes = typeof content === "string"
    ? new TextEncoder().encode(content)
    : content;
  Deno.writeFileSync(path, bytes);
  // Whatever the umask is.
  Deno.chmodSync(path, mode);
}
