/**
 * The files of an installation, below the folder that becomes `/`.
 *
 * @module
 */

import { DAEMON_CAPABILITIES } from "../../lib/platform/linux/privileges.ts";
import { linux } from "../../lib/platform/linux/system.ts";
import { LEARNT_DIRECTORY } from "../../lib/service/learnt_file.ts";
import { systemdUnit } from "../../lib/service/unit.ts";
import { completionFiles } from "./completions.ts";
import { jsonSchemas } from "./json_schemas.ts";
import { manPages } from "./man.ts";
import { write } from "./write.ts";

const ROOT = new URL("../..", import.meta.url).pathname;

/** Where a distribution expects what others have elsewhere. */
export interface Places {
  /** Below which programs and documentation are: `/usr`, or nothing for a tarball. */
  readonly prefix: string;
  readonly zsh: string;
}

/** What is installed. */
export interface Staged {
  /** The compiled program. */
  readonly binary: string;
  /** The date of the man pages. */
  readonly date: Date;
  /** The bill of materials. */
  readonly sbom: string;
}

/** Writes programs, man pages, completions and documentation below a folder. */
export async function stage(
  folder: string,
  { prefix, zsh }: Places,
  { binary, date, sbom }: Staged,
): Promise<void> {
  const usr = `${folder}${prefix}`;
  write(`${usr}/bin/rcap`, Deno.readFileSync(binary), 0o755);
  for (const [name, text] of await manPages(date)) {
    write(`${usr}/share/man/man${name.slice(-1)}/${name}`, text);
  }
  for (const [path, text] of await completionFiles()) {
    const place = path.replace("usr/", "")
      .replace("share/zsh/vendor-completions", zsh);
    write(`${usr}/${place}`, text);
  }
  for (const [name, schema] of jsonSchemas()) {
    const text = `${JSON.stringify(schema, undefined, 2)}\n`;
    write(`${usr}/share/rcap/schemas/${name}`, text);
  }
  const doc = `${usr}/share/doc/rcap`;
  for (const name of ["README.md", "SECURITY.md"]) {
    write(`${doc}/${name}`, Deno.readFileSync(`${ROOT}${name}`));
  }
  copyDocs(`${ROOT}docs`, `${doc}/docs`);
  write(`${doc}/rcap.cdx.json`, sbom);
}

function copyDocs(from: string, to: string): void {
  for (const { name, isDirectory } of Deno.readDirSync(from)) {
    if (isDirectory) copyDocs(`${from}/${name}`, `${to}/${name}`);
    else write(`${to}/${name}`, Deno.readFileSync(`${from}/${name}`));
  }
}

/** The unit of an installed program: for any machine, and for caps that are not known. */
export function installedUnit(program: string): string {
  return systemdUnit({
    program,
    args: ["run"],
    stateDirectory: linux.stateDirectory,
    learntDirectory: LEARNT_DIRECTORY,
    hasManPages: true,
    capabilities: DAEMON_CAPABILITIES,
    mostMemory: "50%",
  });
}

/** `/etc/rcap.toml` as it is installed: the example, all of it as comments. */
export function commentedConfiguration(): string {
  const example = Deno.readTextFileSync(`${ROOT}docs/rcap.toml.example`);
  return example.replaceAll(/^(?!#)(?=.)/gm, "# ");
}
