/**
 * `scripts/denow` becomes the Deno that it finds, whichever way it finds it: a
 * signal to its process reaches Deno, and nothing is left behind.
 *
 * @module
 */

import { assertEquals, assertMatch } from "@std/assert";
import "./support/deadline.ts";

const DENOW = new URL("../scripts/denow", import.meta.url).pathname;

/** Says its pid, and how it was ended. */
const PROGRAM = `
  const alive = setInterval(() => {}, 1000);
  Deno.addSignalListener("SIGTERM", () => {
    console.log("SIGTERM");
    clearInterval(alive);
    Deno.exit(0);
  });
  console.log(Deno.pid);`;

/** Runs {@linkcode PROGRAM} by denow, sends SIGTERM to denow's process, and checks what comes of it. */
async function assertReached(path: string): Promise<void> {
  const child = new Deno.Command(DENOW, {
    args: ["eval", PROGRAM],
    env: { PATH: path },
    stdout: "piped",
  }).spawn();
  let said = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    if (said === "") child.kill("SIGTERM");
    said += text;
  }
  assertEquals(said, `${child.pid}\nSIGTERM\n`);
  assertEquals((await child.status).code, 0);
}

/** The folders of the PATH that have no Deno. */
function pathWithoutDeno(): string {
  return Deno.env.get("PATH")!.split(":").filter((folder) => {
    try {
      return !Deno.statSync(`${folder}/deno`).isFile;
    } catch {
      return true;
    }
  }).join(":");
}

Deno.test("SIGTERM reaches the Deno of the PATH, even one that a wrapper runs", async () => {
  const folder = Deno.makeTempDirSync({ prefix: "rcap-" });
  try {
    // As the one that npm installs, it waits for Deno and passes no signals on.
    Deno.writeTextFileSync(
      `${folder}/deno`,
      `#!/bin/sh\n'${Deno.execPath()}' "$@"\nexit $?\n`,
      { mode: 0o755 },
    );
    await assertReached(`${folder}:${pathWithoutDeno()}`);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("SIGTERM reaches the Deno that npx runs", async () => {
  await assertReached(pathWithoutDeno());
});

Deno.test("without Deno and npx, denow says what to install", async () => {
  const folder = Deno.makeTempDirSync({ prefix: "rcap-" });
  try {
    Deno.symlinkSync("/bin/cat", `${folder}/cat`);
    const { code, stderr } = await new Deno.Command("/bin/sh", {
      args: [DENOW, "--version"],
      env: { PATH: folder },
    }).output();
    const text = new TextDecoder().decode(stderr);
    assertEquals(code, 127, text);
    assertMatch(text, /\n.* npx: {2}apt-get install nodejs npm\n/);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
