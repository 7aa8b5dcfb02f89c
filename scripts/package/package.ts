/**
 * Makes the packages in `dist/packages`, or the folder given: `.deb`, `.rpm`, a tarball
 * with `install.sh`, a bill of materials, and SHA256SUMS. It builds the binary, or takes
 * the one that RCAP_BIN names, and RCAP_MAINTAINER says who answers for the packages. Two runs on one commit make the same bytes. With
 * `--fast`, packages are compressed little, for tests.
 *
 * @module
 */

import denoJson from "../../deno.json" with { type: "json" };
import { complain, say } from "../../tests/support/say.ts";
import { assertRuns, run } from "./run.ts";
import { sbomOf } from "./sbom.ts";
import { sourceDate } from "./source_date.ts";
import {
  commentedConfiguration,
  installedUnit,
  stage,
  type Staged,
} from "./stage.ts";
import { write } from "./write.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const PACKAGING = `${ROOT}packaging`;
const { version } = denoJson;

/**
 * Who answers for the packages, as Debian's field Maintainer wants it: a name and an
 * address. Whoever publishes packages sets RCAP_MAINTAINER; the address of others
 * belongs to nobody (RFC 2606).
 */
const MAINTAINER = Deno.env.get("RCAP_MAINTAINER") ||
  "Whoever built this package <unknown@rcap.invalid>";

/** What one run makes its packages from. */
interface Work extends Staged {
  /** For what is in between. */
  readonly folder: string;
  readonly output: string;
  readonly isFast: boolean;
  /** What the tools get: the time, and nothing of the user's. */
  readonly env: Record<string, string>;
}

/** Makes `rcap_VERSION_amd64.deb`, by debhelper. */
async function makeDeb({ folder, output, isFast, env, ...staged }: Work) {
  const source = `${folder}/rcap-${version}`;
  const debian = `${source}/debian`;
  await stage(`${debian}/rcap-tree`, {
    prefix: "/usr",
    zsh: "share/zsh/vendor-completions",
  }, staged);
  write(`${debian}/rcap-tree/etc/rcap.toml`, commentedConfiguration());
  write(`${debian}/rcap.service`, installedUnit("/usr/bin/rcap"));
  for (const { name } of Deno.readDirSync(`${PACKAGING}/debian`)) {
    const text = Deno.readTextFileSync(`${PACKAGING}/debian/${name}`);
    write(
      `${debian}/${name}`,
      text.replace("@MAINTAINER@", MAINTAINER),
      name === "rules" ? 0o755 : 0o644,
    );
  }
  write(`${source}/CHANGELOG.md`, Deno.readFileSync(`${ROOT}CHANGELOG.md`));
  const day = `${staged.date.toUTCString().replace("GMT", "+0000")}`;
  write(
    `${debian}/changelog`,
    `rcap (${version}) unstable; urgency=medium\n\n` +
      `  * See /usr/share/doc/rcap/changelog.gz.\n\n` +
      ` -- ${MAINTAINER}  ${day}\n`,
  );
  await assertRuns("dpkg-buildpackage", [
    "--build=binary",
    "--no-sign",
    "--no-check-builddeps",
  ], { cwd: source, env: { ...env, COMPRESSION: isFast ? "-z0" : "-z6" } });
  const name = `rcap_${version}_amd64.deb`;
  Deno.copyFileSync(`${folder}/${name}`, `${output}/${name}`);
  return name;
}

/** Makes `rcap-VERSION-1.x86_64.rpm`. */
async function makeRpm({ folder, output, isFast, env, ...staged }: Work) {
  const tree = `${folder}/rpm-tree`;
  await stage(
    tree,
    { prefix: "/usr", zsh: "share/zsh/site-functions" },
    staged,
  );
  write(`${tree}/etc/rcap.toml`, commentedConfiguration());
  const systemd = `${tree}/usr/lib/systemd`;
  write(`${systemd}/system/rcap.service`, installedUnit("/usr/bin/rcap"));
  write(`${systemd}/system-preset/50-rcap.preset`, "enable rcap.service\n");
  for (const page of ["CHANGELOG.md", "LICENSE"]) {
    write(
      `${tree}/usr/share/doc/rcap/${page}`,
      Deno.readFileSync(`${ROOT}${page}`),
    );
  }
  const man = `${tree}/usr/share/man`;
  await assertRuns("gzip", ["--recursive", "--no-name", "--best", man]);
  await setTimes(tree, staged.date);
  const define = (name: string, value: string) => [
    "--define",
    `${name} ${value}`,
  ];
  await assertRuns("rpmbuild", [
    "-bb",
    "--target",
    "x86_64",
    ...define("_topdir", `${folder}/rpm`),
    ...define("tree", tree),
    ...define("rcap_version", version),
    ...define("_buildhost", "reproducible"),
    ...define("use_source_date_epoch_as_buildtime", "1"),
    ...define("clamp_mtime_to_source_date_epoch", "1"),
    ...define("_binary_payload", isFast ? "w1.zstdio" : "w9.zstdio"),
    `${PACKAGING}/rpm/rcap.spec`,
  ], { env });
  const name = `rcap-${version}-1.x86_64.rpm`;
  Deno.copyFileSync(`${folder}/rpm/RPMS/x86_64/${name}`, `${output}/${name}`);
  return name;
}

/** Makes `rcap-VERSION-linux-amd64.tar.gz`, with `install.sh`. */
async function makeTarball({ folder, output, isFast, env, ...staged }: Work) {
  const base = `rcap-${version}-linux-amd64`;
  const tree = `${folder}/${base}`;
  await stage(`${tree}/tree`, {
    prefix: "",
    zsh: "share/zsh/site-functions",
  }, staged);
  write(`${tree}/rcap.service`, installedUnit("/usr/bin/rcap"));
  write(`${tree}/rcap.toml`, commentedConfiguration());
  const installer = Deno.readFileSync(`${PACKAGING}/install.sh`);
  write(`${tree}/install.sh`, installer, 0o755);
  for (const page of ["CHANGELOG.md", "LICENSE"]) {
    write(`${tree}/${page}`, Deno.readFileSync(`${ROOT}${page}`));
  }
  const name = `${base}.tar.gz`;
  await assertRuns("tar", [
    "--create",
    "--sort=name",
    "--format=gnu",
    `--mtime=@${env.SOURCE_DATE_EPOCH}`,
    "--owner=0",
    "--group=0",
    "--numeric-owner",
    `--use-compress-program=gzip --no-name -${isFast ? 1 : 6}`,
    `--file=${output}/${name}`,
    base,
  ], { cwd: folder, env });
  return name;
}

/** Sets the times of all files below a folder. */
async function setTimes(folder: string, date: Date): Promise<void> {
  const time = `@${date.getTime() / 1000}`;
  await assertRuns("find", [
    folder,
    "-exec",
    "touch",
    "--no-dereference",
    `--date=${time}`,
    "{}",
    "+",
  ]);
}

/** Makes all packages. */
export async function makePackages(
  output: string,
  isFast: boolean,
): Promise<void> {
  Deno.mkdirSync(output, { recursive: true });
  const folder = Deno.makeTempDirSync({ prefix: "rcap-package-" });
  try {
    const date = sourceDate();
    const binary = Deno.env.get("RCAP_BIN") || await build(`${folder}/rcap`);
    const sbom = await sbomOf(Deno.readFileSync(binary), date);
    const work: Work = {
      folder,
      output,
      isFast,
      binary,
      date,
      sbom,
      env: {
        SOURCE_DATE_EPOCH: String(date.getTime() / 1000),
        LC_ALL: "C.UTF-8",
        TZ: "UTC",
      },
    };
    const names = [
      ...await Promise.all([makeDeb(work), makeRpm(work), makeTarball(work)]),
      `rcap-${version}.cdx.json`,
    ];
    Deno.writeTextFileSync(`${output}/${names.at(-1)}`, sbom);
    const sums = await assertRuns("sha256sum", names, { cwd: output });
    Deno.writeTextFileSync(`${output}/SHA256SUMS`, sums);
    say(`${size(binary)} the binary`);
    for (const name of names) say(`${size(`${output}/${name}`)} ${name}`);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

async function build(binary: string): Promise<string> {
  const { code, stdout, stderr } = await run(Deno.execPath(), [
    "run",
    "--allow-all",
    `${ROOT}scripts/build.ts`,
    binary,
  ]);
  if (code === 0) return binary;
  throw new Error(`the binary cannot be built:\n${stdout}${stderr}`);
}

function size(path: string): string {
  const mebibytes = Deno.statSync(path).size / 2 ** 20;
  return `${mebibytes.toFixed(1).padStart(6)} MiB`;
}

if (import.meta.main) {
  try {
    const folders = Deno.args.filter((argument) => argument !== "--fast");
    await makePackages(
      folders[0] ?? `${ROOT}dist/packages`,
      Deno.args.includes("--fast"),
    );
  } catch (error) {
    complain(error instanceof Error ? error.message : error);
    Deno.exit(1);
  }
}
