/**
 * The file system that a virtual machine starts with and runs on: rcap, the
 * workload, and of the kernel's release what these need.
 *
 * @module
 */

import { CpioWriter } from "./cpio.ts";
import { fetchPackages, type Release } from "./debian.ts";
import { filesBelow } from "./files.ts";
import type { Kernel } from "./kernel.ts";

const STEPS = new URL("steps.sh", import.meta.url).pathname;
const REPORT = new URL("report.sh", import.meta.url).pathname;
const WORKLOAD = new URL("../fixtures/workload.pl", import.meta.url).pathname;

const LIBRARIES = "lib/x86_64-linux-gnu";
const LOADER = "ld-linux-x86-64.so.2";

const PROGRAM = /\/bin\/(busybox|perl)$/;

/** A library of rcap or Perl; in some releases below /usr. */
const LIBRARY =
  /\/lib\/x86_64-linux-gnu\/(ld-linux-x86-64|lib(c|crypt|dl|gcc_s|m|pthread|rt))\.so\.\d+$/;

/** A library by the name that programs load. */
const ANY_LIBRARY = /\/lib\/x86_64-linux-gnu\/[^/]+\.so\.\d+$/;

const PERL_MODULE = /\/(usr\/lib\/x86_64-linux-gnu\/perl-base\/.*)$/;

/** What to put into the archive. */
export interface InitramfsOptions {
  release: Release;
  kernel: Kernel;
  /** The compiled rcap. */
  rcap: string;
  /** A program that becomes a virtual machine, if the machine is to have one in it. */
  virtualMachine?: string;
  /** The script that is init. */
  init: string;
  /** Other scripts, by their name in the root folder. */
  scripts?: ReadonlyMap<string, string>;
  /** A package whose program of the same name is there, too, with its libraries. */
  program?: string;
}

/** Writes the archive to a new file. */
export async function writeInitramfs(
  path: string,
  { release, kernel, rcap, virtualMachine, init, scripts, program }:
    InitramfsOptions,
): Promise<void> {
  const packages = await fetchPackages({
    release,
    name: "guest",
    packages: ["busybox-static", "perl-base", "libgcc-s1"],
  });
  const files = new Map([
    ["init", init],
    ["steps.sh", STEPS],
    ["report.sh", REPORT],
    ["workload.pl", WORKLOAD],
    ["bin/rcap", rcap],
    ...scripts ?? [],
  ]);
  if (virtualMachine !== undefined) {
    files.set("bin/virtual_machine", virtualMachine);
  }
  for (const file of kernel.modules) {
    files.set(`lib/modules/${kernel.version}/${basename(file)}`, file);
  }
  for (const file of filesBelow(packages)) {
    const name = basename(file);
    if (PROGRAM.test(file)) files.set(`bin/${name}`, file);
    if (LIBRARY.test(file)) files.set(`${LIBRARIES}/${name}`, file);
    const [, perlModule] = PERL_MODULE.exec(file) ?? [];
    if (perlModule !== undefined) files.set(perlModule, file);
  }
  if (program !== undefined) {
    const tree = await fetchPackages({
      release,
      name: program,
      packages: [program],
    });
    for (const file of filesBelow(tree)) {
      const name = basename(file);
      if (name === program && /\/s?bin\//.test(file)) {
        files.set(`bin/${name}`, file);
      }
      if (ANY_LIBRARY.test(file)) files.set(`${LIBRARIES}/${name}`, file);
    }
  }

  using archive = new CpioWriter(path);
  const folders = new Set<string>();
  for (const [target, source] of files) {
    addFolders(target);
    archive.file(target, Deno.readFileSync(source));
  }
  addFolders(`lib64/${LOADER}`);
  archive.link(`lib64/${LOADER}`, `/${LIBRARIES}/${LOADER}`);
  archive.finish();

  /** Adds the folders above a path that are not there yet. */
  function addFolders(target: string): void {
    const parts = target.split("/").slice(0, -1);
    for (const index of parts.keys()) {
      const folder = parts.slice(0, index + 1).join("/");
      if (!folders.has(folder)) archive.folder(folder);
      folders.add(folder);
    }
  }
}

function basename(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
