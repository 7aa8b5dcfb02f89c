/**
 * The bill of materials of the binary, in CycloneDX: the packages of npm that are in it,
 * by `deno.lock`, and the runtime with V8 and the crates of Rust that are in it, by what
 * the binary itself says. A crate that leaves no path in the binary, because nothing in
 * it can panic, is not found. Licenses are those that packages of npm declare, and of
 * Deno and V8; the binary does not say which ones crates have.
 *
 * @module
 */

import {
  Enums,
  Models,
  Serialize,
  Spec,
  Validation,
} from "@cyclonedx/cyclonedx-library";
import denoJson from "../../deno.json" with { type: "json" };
import { assertRuns } from "./run.ts";

/** Of Deno (LICENSE.md in its repository) and V8 (LICENSE in its repository). */
const RUNTIME_LICENSES = { deno: "MIT", v8: "BSD-3-Clause" };

const ROOT = new URL("../..", import.meta.url).pathname;

/** A package of npm in `deno.lock`. */
interface LockedPackage {
  readonly integrity: string;
  readonly dependencies?: readonly string[];
  readonly optionalPeers?: readonly string[];
}

interface Lock {
  readonly specifiers: Readonly<Record<string, string>>;
  readonly npm: Readonly<Record<string, LockedPackage>>;
}

/** What is in the runtime of a binary. */
export interface RuntimeContents {
  readonly deno: string;
  readonly v8: string;
  readonly crates: readonly {
    readonly name: string;
    readonly version: string;
  }[];
}

/**
 * Reads what a compiled binary says of its runtime: the version that it sends to servers,
 * that of V8, and the paths of sources in the messages of panics.
 *
 * @throws Error if it says nothing of Deno or V8.
 */
export function runtimeContents(binary: Uint8Array): RuntimeContents {
  const text = new TextDecoder("latin1").decode(binary);
  const [, deno] = /Deno\/(\d+\.\d+\.\d+)/.exec(text) ?? [];
  const [, v8] = /(\d+\.\d+\.\d+\.\d+)-rusty/.exec(text) ?? [];
  if (deno === undefined || v8 === undefined) {
    throw new Error("the binary does not say which Deno or V8 is in it");
  }
  const paths = text.matchAll(
    /registry\/src\/[^/\0]{1,80}\/([A-Za-z0-9_-]{1,64}?)-(\d+\.\d+\.\d+[A-Za-z0-9.+-]{0,40})\//g,
  );
  const crates = new Map(
    Array.from(
      paths,
      ([, name, version]) => [`${name}@${version}`, { name, version }],
    ),
  );
  return {
    deno,
    v8,
    crates: Array.from(crates.keys()).sort().map((key) => crates.get(key)!),
  };
}

/** Returns the keys in `deno.lock` of the packages that the program loads. */
export async function packagesOf(lock: Lock): Promise<string[]> {
  const info = JSON.parse(
    await assertRuns(Deno.execPath(), ["info", "--json", "main.ts"], {
      cwd: ROOT,
    }),
  ) as { modules: { specifier: string }[] };
  const used = info.modules.flatMap(({ specifier }) => {
    const [, name, version] =
      /^npm:\/?((?:@[^@/]+\/)?[^@/]+)@([^/]+)/.exec(specifier) ?? [];
    if (name === undefined) return [];
    const locked = lock.specifiers[`npm:${name}@${version.split("_")[0]}`];
    return [`${name}@${locked ?? version}`];
  });
  const reached = new Set<string>();
  const visit = (key: string) => {
    if (reached.has(key)) return;
    const entry = lock.npm[key];
    if (entry === undefined) throw new Error(`deno.lock has no ${key}`);
    reached.add(key);
    for (const dependency of entry.dependencies ?? []) {
      if (!entry.optionalPeers?.includes(dependency)) {
        visit(keyOf(lock, dependency));
      }
    }
  };
  for (const key of used) visit(key);
  return Array.from(reached).sort();
}

/** A dependency in `deno.lock` has a version only if there are several. */
function keyOf(lock: Lock, dependency: string): string {
  if (lock.npm[dependency]) return dependency;
  const found = Object.keys(lock.npm).filter((key) =>
    key.startsWith(`${dependency}@`)
  );
  if (found.length === 1) return found[0];
  throw new Error(`deno.lock has ${found.length} packages ${dependency}`);
}

/**
 * Returns the bill of materials as JSON.
 *
 * @throws Error if it does not conform to the schema of CycloneDX.
 */
export async function sbomOf(binary: Uint8Array, date: Date): Promise<string> {
  const lock: Lock = JSON.parse(Deno.readTextFileSync(`${ROOT}deno.lock`));
  const { deno, v8, crates } = runtimeContents(binary);
  const bom = new Models.Bom();
  bom.metadata.timestamp = date;
  bom.metadata.component = new Models.Component(
    Enums.ComponentType.Application,
    "rcap",
    {
      version: denoJson.version,
      bomRef: "rcap",
      licenses: licensesOf([denoJson.license]),
    },
  );
  const add = (
    name: string,
    version: string,
    purl: string,
    more: Partial<Models.Component> = {},
  ) => {
    const component = new Models.Component(
      Enums.ComponentType.Library,
      name,
      { version, bomRef: purl, purl },
    );
    Object.assign(component, more);
    bom.components.add(component);
    bom.metadata.component?.dependencies.add(component.bomRef);
  };
  add("deno", deno, `pkg:github/denoland/deno@v${deno}`, {
    licenses: licensesOf([RUNTIME_LICENSES.deno]),
  });
  add("v8", v8, `pkg:github/v8/v8@${v8}`, {
    licenses: licensesOf([RUNTIME_LICENSES.v8]),
  });
  for (const { name, version } of crates) {
    add(name, version, `pkg:cargo/${name}@${encodeURIComponent(version)}`);
  }
  const cache = await npmCache();
  for (const key of await packagesOf(lock)) {
    const [, name, version] = /^((?:@[^@/]+\/)?[^@/]+)@([^_]+)/.exec(key) ?? [];
    const [, algorithm, digest] =
      /^(sha512)-(.+)$/.exec(lock.npm[key].integrity) ?? [];
    add(name, version, `pkg:npm/${name.replace("@", "%40")}@${version}`, {
      licenses: licensesOf([declaredLicense(cache, name, version)]),
      hashes: algorithm === undefined ? undefined : new Models.HashDictionary([
        [Enums.HashAlgorithm["SHA-512"], hex(digest)],
      ]),
    });
  }
  const serializer = new Serialize.JsonSerializer(
    new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6),
  );
  const text = serializer.serialize(bom, { sortLists: true, space: 2 });
  const errors = await new Validation.JsonStrictValidator(Spec.Version.v1dot6)
    .validate(text);
  if (errors !== null) {
    throw new Error(
      `the bill of materials is not valid: ${JSON.stringify(errors)}`,
    );
  }
  return `${text}\n`;
}

/** The folder in which Deno keeps packages of npm. */
async function npmCache(): Promise<string> {
  const info = JSON.parse(
    await assertRuns(Deno.execPath(), ["info", "--json"]),
  ) as { npmCache: string };
  return `${info.npmCache}/registry.npmjs.org`;
}

/**
 * Returns the license that a package of npm declares: an identifier of SPDX, or an
 * expression of such (`license` in package.json(5)).
 *
 * @throws Error if it declares none.
 */
function declaredLicense(cache: string, name: string, version: string): string {
  const path = `${cache}/${name}/${version}/package.json`;
  const { license } = JSON.parse(Deno.readTextFileSync(path)) as {
    license?: unknown;
  };
  if (typeof license === "string") return license;
  throw new Error(`${path} declares no license`);
}

/** An identifier that SPDX does not know makes the bill of materials invalid. */
function licensesOf(names: readonly string[]): Models.LicenseRepository {
  return new Models.LicenseRepository(
    names.map((name) =>
      /^[A-Za-z0-9.+-]+$/.test(name)
        ? new Models.SpdxLicense(name)
        : new Models.LicenseExpression(name)
    ),
  );
}

function hex(base64: string): string {
  return Array.from(
    atob(base64),
    (character) => character.charCodeAt(0).toString(16).padStart(2, "0"),
  ).join("");
}
