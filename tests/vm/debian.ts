/**
 * Packages of Debian's releases, unpacked into a cache folder. apt does the
 * work, with lists, state and cache of its own: nothing changes on the host. It
 * asks the mirror that the host's own sources name and trusts the keys that the
 * host has of Debian, so the packages are what an installation would get.
 *
 * See apt.conf(5), sources.list(5) and apt-get(8).
 *
 * @module
 */

import { homedir } from "node:os";
import { ageOf, readIfAny, remove } from "./files.ts";
import { complain } from "../support/say.ts";

/** A release of Debian; `sid` has the newest of everything. */
export type Release = "bookworm" | "trixie" | "sid";

/** Packages that are unpacked into one folder. */
export interface PackageSet {
  release: Release;
  /** What the set is called in the cache. */
  name: string;
  /** What to unpack; apt adds what these depend on. */
  packages: string[];
  /** The names to keep of all those. */
  only?: RegExp;
}

/** Packages cannot be had on this machine; the message says why. */
export class PackagesError extends Error {
  override readonly name = "PackagesError";
}

const CACHE = `${
  Deno.env.get("XDG_CACHE_HOME") || `${homedir()}/.cache`
}/rcap-vm`;

const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** Suites of a mirror of Debian, which security updates and others are not on. */
const SUITES =
  /^((old)?(old)?stable|testing|unstable|sid|bullseye|bookworm|trixie|forky)$/;

/** How old lists of packages may be before apt looks for newer ones. */
const LISTS_MAX_AGE_MS = 24 * 60 * 60 * 1000;

/**
 * Fetches a set of packages, or takes it from the cache where that has the
 * newest.
 *
 * @returns the folder that the packages are unpacked in, as if it were `/`.
 * @throws PackagesError
 */
export async function fetchPackages(set: PackageSet): Promise<string> {
  const folder = `${CACHE}/${set.release}`;
  Deno.mkdirSync(folder, { recursive: true });
  // Another run may be fetching at the same time.
  using lock = Deno.openSync(`${folder}/lock`, { create: true, write: true });
  await lock.lock(true);

  const apt = new Apt(set.release, folder);
  await apt.updateIfOld();
  const tree = `${folder}/${set.name}`;
  if (isComplete(tree, await apt.plan(set))) return tree;
  // A mirror drops packages soon after it has newer ones.
  await apt.update();
  const packages = await apt.plan(set);

  const archives = `${tree}.download`;
  for (const path of [completionMark(tree), tree, archives]) remove(path);
  Deno.mkdirSync(tree);
  Deno.mkdirSync(archives);
  await apt.download(packages, archives);
  for (const { name } of Deno.readDirSync(archives)) {
    await run("dpkg-deb", ["--extract", `${archives}/${name}`, tree]);
  }
  remove(archives);
  Deno.writeTextFileSync(completionMark(tree), packages.join("\n"));
  return tree;
}

/** Whether exactly these packages are in a folder, in full. */
function isComplete(tree: string, packages: string[]): boolean {
  return readIfAny(completionMark(tree)) === packages.join("\n");
}

/** The file that lists the packages in a folder once all are there. */
function completionMark(tree: string): string {
  return `${tree}.packages`;
}

/** apt, which sees one release and no package installed. */
class Apt {
  readonly #release: Release;
  readonly #folder: string;
  #updated = false;

  constructor(release: Release, folder: string) {
    this.#release = release;
    this.#folder = folder;
    for (const part of ["lists/partial", "archives/partial"]) {
      Deno.mkdirSync(`${folder}/${part}`, { recursive: true });
    }
    Deno.writeTextFileSync(`${folder}/status`, "");
    Deno.writeTextFileSync(`${folder}/apt.conf`, configuration(folder));
  }

  /** Fetches the lists of packages unless they are recent. */
  async updateIfOld(): Promise<void> {
    const age = ageOf(this.#updateMark);
    if (age < LISTS_MAX_AGE_MS) return;
    try {
      await this.update();
    } catch (error) {
      // What the cache has is better than nothing.
      if (age === Infinity || !(error instanceof PackagesError)) throw error;
      complain(`Using packages of the cache: ${error.message}`);
    }
  }

  /** Fetches the lists of packages, once. */
  async update(): Promise<void> {
    if (this.#updated) return;
    const trust = ageOf(KEYRING) < Infinity ? `[signed-by=${KEYRING}] ` : "";
    const mirror = await this.#mirror();
    Deno.writeTextFileSync(
      `${this.#folder}/sources.list`,
      `deb ${trust}${mirror} ${this.#release} main\n`,
    );
    await this.#get(["update"]);
    Deno.writeTextFileSync(this.#updateMark, "");
    this.#updated = true;
  }

  /**
   * What an installation of the set on a machine without any package would
   * install.
   *
   * @returns names and versions, as in `busybox-static=1:1.37.0-6+b9`.
   */
  async plan({ packages, only = /^/ }: PackageSet): Promise<string[]> {
    const steps = await this.#get([
      "--simulate",
      "--no-install-recommends",
      "install",
      ...packages,
    ]);
    // As in Inst busybox-static (1:1.37.0-6+b9 Debian:13.6/stable [amd64]).
    return [...steps.matchAll(/^Inst (\S+) \((\S+) /gm)]
      .filter(([, name]) => only.test(name))
      .map(([, name, version]) => `${name}=${version}`);
  }

  /** Downloads packages into a folder. */
  async download(packages: string[], folder: string): Promise<void> {
    await this.#get(["download", ...packages], { cwd: folder });
  }

  get #updateMark(): string {
    return `${this.#folder}/updated`;
  }

  /** The mirror of Debian that the sources of the host name. */
  async #mirror(): Promise<string> {
    const targets = await this.#get(["update", "--print-uris"], {
      sources: ["sources.list", "sources.list.d"],
    });
    // As in 'http://mirror.example/debian/dists/bookworm/InRelease' ….
    const found = [
      ...targets.matchAll(/^'(.*)\/dists\/([^/']+)\/InRelease'/gm),
    ].find(([, , suite]) => SUITES.test(suite));
    if (found === undefined) {
      throw new PackagesError(
        "Debian's packages cannot be fetched: the sources of apt on this machine name no mirror of Debian",
      );
    }
    return found[1];
  }

  async #get(
    args: string[],
    {
      sources: [file, folder] = [
        `${this.#folder}/sources.list`,
        "/dev/null",
      ],
      cwd = this.#folder,
    }: { sources?: [string, string]; cwd?: string } = {},
  ): Promise<string> {
    return await run("apt-get", [
      "--quiet",
      `--config-file=${this.#folder}/apt.conf`,
      `--option=Dir::Etc::SourceList=${file}`,
      `--option=Dir::Etc::SourceParts=${folder}`,
      ...args,
    ], cwd);
  }
}

/**
 * What apt has to do otherwise than on the host. All else of the host's
 * configuration stays in force: it may name a proxy.
 */
function configuration(folder: string): string {
  return `
// Commands to run afterwards, which are about the host.
#clear APT::Update;
#clear DPkg;
#clear APT::Default-Release;
#clear APT::Architectures;
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Update::Error-Mode "any";
// Another user may have no access to the folder.
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
Dir::State "${folder}";
Dir::State::Lists "${folder}/lists";
Dir::State::Status "${folder}/status";
Dir::Cache "${folder}";
Dir::Cache::Archives "${folder}/archives";
Dir::Cache::PkgCache "${folder}/pkgcache.bin";
Dir::Cache::SrcPkgCache "";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
`;
}

/** Runs a program that packages cannot be had without. */
async function run(
  program: string,
  args: string[],
  cwd?: string,
): Promise<string> {
  const output = await new Deno.Command(program, {
    args,
    cwd,
    env: { LC_ALL: "C" },
    stdin: "null",
  }).output().catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new PackagesError(
      `Debian's packages cannot be fetched without ${program}, which this machine does not have`,
    );
  });
  const decoder = new TextDecoder();
  if (!output.success) {
    const what = args.filter((arg) => !arg.startsWith("--")).join(" ");
    const why = decoder.decode(output.stderr).trim();
    throw new PackagesError(
      `Debian's packages cannot be fetched: ${program} ${what}: ${why}`,
    );
  }
  return decoder.decode(output.stdout);
}
