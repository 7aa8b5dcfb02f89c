/**
 * The packages that tests use: those in the folder that RCAP_PACKAGES names, or others
 * made now, which takes about 20 s.
 *
 * @module
 */

import denoJson from "../../deno.json" with { type: "json" };
import { requirePrograms } from "./programs.ts";
import { assertRuns } from "../../scripts/package/run.ts";

const SCRIPT =
  new URL("../../scripts/package/package.ts", import.meta.url).pathname;

/** Makes the packages, compressed little. */
export async function makePackages(
  folder: string,
  env: Record<string, string> = {},
): Promise<void> {
  await requirePrograms({
    dh: "debhelper",
    "dpkg-buildpackage": "dpkg-dev",
    rpmbuild: "rpm",
  });
  await assertRuns(
    Deno.execPath(),
    ["run", "--allow-all", SCRIPT, "--fast", folder],
    { env },
  );
}

let made: Promise<string> | undefined;

/** Returns a folder with the packages, which are made once for all tests of a module. */
export function packagesFolder(): Promise<string> {
  return made ??= (async () => {
    const named = Deno.env.get("RCAP_PACKAGES");
    if (named !== undefined) return named;
    const folder = Deno.makeTempDirSync({ prefix: "rcap-packages-" });
    addEventListener(
      "unload",
      () => Deno.removeSync(folder, { recursive: true }),
    );
    await makePackages(folder);
    return folder;
  })();
}

const { version } = denoJson;

/** The names of the packages. */
export const PACKAGES = {
  deb: `rcap_${version}_amd64.deb`,
  rpm: `rcap-${version}-1.x86_64.rpm`,
  tarball: `rcap-${version}-linux-amd64.tar.gz`,
  sbom: `rcap-${version}.cdx.json`,
};
