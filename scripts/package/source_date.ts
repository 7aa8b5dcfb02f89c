/**
 * The time that goes into everything that is packaged, so that two builds of one commit
 * are the same: https://reproducible-builds.org/specs/source-date-epoch/.
 *
 * @module
 */

/** Returns SOURCE_DATE_EPOCH, or the time of the commit. */
export function sourceDate(): Date {
  const set = Deno.env.get("SOURCE_DATE_EPOCH");
  if (set !== undefined) return dateOf(set, "SOURCE_DATE_EPOCH");
  const { code, stdout } = new Deno.Command("git", {
    args: ["log", "-1", "--format=%ct"],
    cwd: new URL("../..", import.meta.url).pathname,
  }).outputSync();
  if (code !== 0) {
    throw new Error("this is no clone of a repository; set SOURCE_DATE_EPOCH");
  }
  return dateOf(new TextDecoder().decode(stdout).trim(), "git");
}

function dateOf(text: string, what: string): Date {
  if (/^\d{1,12}$/.test(text)) return new Date(Number(text) * 1000);
  throw new Error(`${what}: "${text}" is not a number of seconds`);
}
