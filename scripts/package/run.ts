/**
 * Runs programs.
 *
 * @module
 */

/** What a program has printed. */
export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end. */
export async function run(
  program: string,
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<Output> {
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    ...options,
  }).output();
  const decoder = new TextDecoder();
  return {
    code,
    stdout: decoder.decode(stdout),
    stderr: decoder.decode(stderr),
  };
}

/**
 * Runs a program that has to succeed, and returns its standard output.
 *
 * @throws Error with what it printed if it fails.
 */
export async function assertRuns(
  program: string,
  args: readonly string[],
  options?: { cwd?: string; env?: Record<string, string> },
): Promise<string> {
  const { code, stdout, stderr } = await run(program, args, options);
  if (code === 0) return stdout;
  throw new Error(
    `${program} ${args.join(" ")}: exit code ${code}\n${stdout}${stderr}`,
  );
}
