/**
 * Tests of the packages themselves, which need no daemon: what lintian and rpm say, that
 * the tarball installs and uninstalls, and that two runs make the same bytes.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import denoJson from "../../deno.json" with { type: "json" };
import { assertRuns, run } from "../../scripts/package/run.ts";
import { allow } from "../support/deadline.ts";
import { requirePrograms } from "../support/programs.ts";
import { makePackages, PACKAGES, packagesFolder } from "../support/packages.ts";

await requirePrograms({ lintian: "lintian", rpm: "rpm" });

const { version } = denoJson;

/** A folder that is removed when disposed of. */
function temporary(): Disposable & { readonly path: string } {
  const path = Deno.makeTempDirSync({ prefix: "rcap-package-test-" });
  return {
    path,
    [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }),
  };
}

/** The files below a folder, sorted. */
async function filesBelow(folder: string): Promise<string[]> {
  const text = await assertRuns("find", [".", "-type", "f"], { cwd: folder });
  return text.split("\n").filter((line) => line !== "")
    .map((line) => line.slice(1)).sort();
}

/** What every package has, by the end of the path. */
const EVERYWHERE = [
  "/bin/rcap",
  "/share/man/man1/rcap.1",
  "/share/man/man1/rcap-scan.1",
  "/share/man/man5/rcap.toml.5",
  "/bash-completion/completions/rcap",
  "/_rcap",
  "/rcap.fish",
  "/rcap.service",
  "/rcap.toml",
  "/docs/commands.md",
  "/docs/commands/scan.md",
  "/rcap.cdx.json",
  "/share/rcap/schemas/scan.schema.json",
  "/share/rcap/schemas/rcap.toml.schema.json",
];

function assertHasEverything(files: readonly string[]): void {
  const plain = files.map((file) => file.replace(/\.gz$/, ""));
  for (const end of EVERYWHERE) {
    assert(
      plain.some((file) => file.endsWith(end)),
      `${end}\n${plain.join("\n")}`,
    );
  }
}

Deno.test("two runs make the same bytes", async () => {
  allow(300);
  using first = temporary();
  using second = temporary();
  await makePackages(first.path);
  await makePackages(second.path, {
    TZ: "Asia/Tokyo",
    LANG: "C",
    // This run builds the binary, also if the first one was given it.
    RCAP_BIN: "",
  });
  const sums = Deno.readTextFileSync(`${first.path}/SHA256SUMS`);
  assertEquals(Deno.readTextFileSync(`${second.path}/SHA256SUMS`), sums);
  assertEquals(sums.trimEnd().split("\n").length, Object.keys(PACKAGES).length);
  for (const { path } of [first, second]) {
    await assertRuns("sha256sum", ["--check", "--strict", "SHA256SUMS"], {
      cwd: path,
    });
  }
});

Deno.test("lintian has nothing to say of the .deb, and it has everything", async () => {
  const deb = `${await packagesFolder()}/${PACKAGES.deb}`;
  assertEquals(
    await run("lintian", ["--allow-root", "--fail-on", "error,warning", deb]),
    { code: 0, stdout: "", stderr: "" },
  );
  using folder = temporary();
  await assertRuns("dpkg-deb", ["--raw-extract", deb, folder.path]);
  assertHasEverything(await filesBelow(folder.path));
  assertEquals(
    Deno.readTextFileSync(`${folder.path}/DEBIAN/conffiles`),
    "/etc/rcap.toml\n",
  );
  // Stripped, it would run as the bare runtime.
  assertEquals(
    await assertRuns(`${folder.path}/usr/bin/rcap`, ["--version"]),
    `${version}\n`,
  );
});

Deno.test("the .rpm has everything, and is installed and removed", async () => {
  const rpm = `${await packagesFolder()}/${PACKAGES.rpm}`;
  const scripts = await assertRuns("rpm", [
    "--query",
    "--package",
    "--scripts",
    rpm,
  ]);
  for (
    const line of [
      "systemctl preset rcap.service",
      "systemctl disable --now rcap.service",
      "systemctl try-restart rcap.service",
    ]
  ) {
    assert(scripts.includes(line), scripts);
  }
  using folder = temporary();
  const root = folder.path;
  await assertRuns("rpm", ["--root", root, "--initdb"]);
  // The database knows no other package, and the root has no shell.
  const install = ["--root", root, "--nodeps", "--noscripts"];
  await assertRuns("rpm", [...install, "--install", "--ignorearch", rpm]);
  const files = await filesBelow(root);
  assertHasEverything(files);
  assert(files.includes("/usr/lib/systemd/system-preset/50-rcap.preset"));
  assertEquals(
    await assertRuns(`${root}/usr/bin/rcap`, ["--version"]),
    `${version}\n`,
  );
  assertEquals(
    await assertRuns("rpm", [
      "--root",
      root,
      "--query",
      "--configfiles",
      "rcap",
    ]),
    "/etc/rcap.toml\n",
  );
  // A configuration that was changed is kept.
  Deno.writeTextFileSync(`${root}/etc/rcap.toml`, "# mine\n");
  await run("rpm", [...install, "--erase", "rcap"]);
  const left = (await filesBelow(root)).filter((file) => /rcap/.test(file));
  assertEquals(left, ["/etc/rcap.toml.rpmsave"]);
  // The scripts are valid for the shell that they name.
  const parts = scripts.split(/^\w+ scriptlet \(using \/bin\/sh\):$/m).slice(1);
  assertEquals(parts.length, 3);
  for (const part of parts) await assertRuns("sh", ["-n", "-c", part]);
});

Deno.test("the tarball is installed and removed by its script", async () => {
  const tarball = `${await packagesFolder()}/${PACKAGES.tarball}`;
  using source = temporary();
  using target = temporary();
  await assertRuns("tar", ["-xzf", tarball, "-C", source.path]);
  const script = `${source.path}/rcap-${version}-linux-amd64/install.sh`;
  const env = { DESTDIR: target.path };
  await assertRuns(script, [], { env });
  const files = await filesBelow(target.path);
  assertHasEverything(files);
  assert(files.includes("/usr/local/bin/rcap"));
  assertMatch(
    Deno.readTextFileSync(`${target.path}/etc/systemd/system/rcap.service`),
    /^ExecStart=\/usr\/local\/bin\/rcap run$/m,
  );
  assertEquals(
    await assertRuns(`${target.path}/usr/local/bin/rcap`, ["--version"]),
    `${version}\n`,
  );
  // Installed again, it keeps the configuration.
  Deno.writeTextFileSync(`${target.path}/etc/rcap.toml`, "# mine\n");
  await assertRuns(script, [], { env });
  await assertRuns(script, ["--uninstall"], { env });
  assertEquals(await filesBelow(target.path), ["/etc/rcap.toml"]);
  await assertRuns(script, ["--purge"], { env });
  assertEquals(await filesBelow(target.path), []);
  assertEquals((await run(script, ["--frobnicate"], { env })).code, 2);
});

Deno.test("the bill of materials names the runtime, V8, crates and packages of npm", async () => {
  const folder = await packagesFolder();
  const bom = JSON.parse(
    Deno.readTextFileSync(`${folder}/${PACKAGES.sbom}`),
  ) as {
    components: {
      name: string;
      purl: string;
      licenses?: { license?: { id: string }; expression?: string }[];
    }[];
  };
  const purls = bom.components.map(({ purl }) => purl);
  assert(purls.some((purl) => /^pkg:github\/denoland\/deno@v\d/.test(purl)));
  assert(purls.some((purl) => /^pkg:github\/v8\/v8@\d/.test(purl)));
  assert(purls.some((purl) => purl.startsWith("pkg:cargo/tokio@")));
  assert(purls.filter((purl) => purl.startsWith("pkg:cargo/")).length > 100);
  const npm = bom.components.filter(({ purl }) => purl.startsWith("pkg:npm/"))
    .map(({ name }) => name);
  for (
    const name of ["commander", "valibot", "prom-client", "tdigest", "uplot"]
  ) {
    assert(npm.includes(name), npm.join(" "));
  }
  // The licenses of crates are not known.
  const licenses = new Map(
    bom.components.filter(({ purl }) => !purl.startsWith("pkg:cargo/"))
      .map(({ name, licenses = [] }) => [
        name,
        licenses.map(({ license, expression }) => license?.id ?? expression)
          .join(),
      ]),
  );
  assertEquals(licenses.get("deno"), "MIT");
  assertEquals(licenses.get("v8"), "BSD-3-Clause");
  assertEquals(licenses.get("prom-client"), "Apache-2.0");
  for (const [name, license] of licenses) assert(license !== "", name);
  // What only tests and packaging need is not in the binary.
  for (
    const name of ["fast-check", "ajv", "marked", "puppeteer-core", "xterm"]
  ) {
    assert(!npm.includes(name), name);
  }
});
