/**
 * Programs that tests need and machines often lack: packages of Debian, which are
 * installed.
 *
 * @module
 */

import { assertRuns, run } from "../../scripts/package/run.ts";
import { say } from "./say.ts";

/**
 * Installs what is lacking of some programs.
 *
 * @param programs the packages that they are in, by name.
 * @throws Error if that does not work, with the command that should.
 */
export async function requirePrograms(
  programs: Readonly<Record<string, string>>,
): Promise<void> {
  const lacking: string[] = [];
  for (const [program, name] of Object.entries(programs)) {
    const { code } = await run("sh", ["-c", `command -v ${program}`]);
    if (code !== 0) lacking.push(name);
  }
  if (lacking.length === 0) return;
  const command = ["install", "-y", "-qq", ...lacking];
  say(`apt-get ${command.join(" ")}`);
  try {
    await assertRuns("apt-get", ["update", "-qq"]);
    await assertRuns("apt-get", command, {
      env: { DEBIAN_FRONTEND: "noninteractive" },
    });
  } catch (error) {
    throw new Error(
      `this test needs ${lacking.join(", ")}; apt-get ${command.join(" ")}`,
      { cause: error },
    );
  }
}
