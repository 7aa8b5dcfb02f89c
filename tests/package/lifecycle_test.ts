/**
 * Tests of what the .deb does on a clean Debian that systemd has booted in a container:
 * it is installed, upgraded while its daemon works, removed and purged.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import denoJson from "../../deno.json" with { type: "json" };
import { assertRuns } from "../../scripts/package/run.ts";
import { Container } from "../support/container.ts";
import { allow, waitingFor } from "../support/deadline.ts";
import { requireRoot } from "../support/live.ts";
import { PACKAGES, packagesFolder } from "../support/packages.ts";
import { zramSwap } from "../support/swap.ts";

requireRoot();

const MIB = 2 ** 20;
const { version } = denoJson;

/** The cap, and libraries that count in proportion against it. */
const MOST_RSS = 40 * MIB;

/** A service with 64 MiB or more that it does not use. */
const HOARDER = `[Service]
ExecStart=/usr/bin/perl -e '$$x = "a" x (64 << 20); sleep 1 while 1'
`;

// By cgroup and not unit: the machine's own hierarchy of systemd, of version 1 on some,
// does not know the units of the container.
const CAP = `
[[cap]]
name = "hoarder"
select = ["cgroup:*/hoarder.service"]
max_rss = "32M"
`;

/** How long anything may take on a busy machine, in milliseconds. */
const PATIENCE_MS = 60_000;

/** Waits until a condition holds. */
async function eventually(
  what: string,
  holds: () => Promise<boolean>,
): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  const polling = async () => {
    while (!await holds()) {
      if (performance.now() > end) throw new Error(`in vain: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  };
  await waitingFor(what, polling());
}

/** Makes a package of another version from one, changed by a function. */
async function variant(
  deb: string,
  to: string,
  version: string,
  change: (tree: string) => void = () => {},
): Promise<void> {
  const tree = Deno.makeTempDirSync({ prefix: "rcap-deb-" });
  try {
    await assertRuns("dpkg-deb", ["--raw-extract", deb, tree]);
    const control = `${tree}/DEBIAN/control`;
    const text = Deno.readTextFileSync(control);
    Deno.writeTextFileSync(
      control,
      text.replace(/^Version: .*$/m, `Version: ${version}`),
    );
    change(tree);
    await assertRuns("dpkg-deb", [
      "--root-owner-group",
      "-Znone",
      "--build",
      tree,
      to,
    ]);
  } finally {
    Deno.removeSync(tree, { recursive: true });
  }
}

/** The processes of the container's daemon and of its service, and what they have. */
class Watched {
  readonly #container: Container;

  constructor(container: Container) {
    this.#container = container;
  }

  /** The pid of a service's main process, in the container; 0 if it does not run. */
  async pid(unit: string): Promise<number> {
    const text = await this.#container.must(
      "systemctl",
      "show",
      "--property=MainPID",
      "--value",
      unit,
    );
    return Number(text);
  }

  /** Resident memory of the hoarder, in bytes. */
  async rss(): Promise<number> {
    const pid = await this.pid("hoarder");
    const text = await this.#container.must("cat", `/proc/${pid}/status`);
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1]) * 1024;
  }

  /** Asserts that the daemon works with its cap, by another process than `before`. */
  async assertWorking(before = 0): Promise<number> {
    await eventually("the daemon works", async () => {
      const { stdout } = await this.#container.run(
        "rcap",
        "stat",
        "1",
        "1",
        "-H",
        "-o",
        "name",
      );
      return stdout === "hoarder\n" && await this.pid("rcap") !== before;
    });
    assertEquals(
      await this.#container.must("systemctl", "is-active", "rcap"),
      "active\n",
    );
    return await this.pid("rcap");
  }
}

Deno.test("the .deb is installed, upgraded, removed and purged", async () => {
  allow(400);
  const deb = `${await packagesFolder()}/${PACKAGES.deb}`;
  await using _swap = await zramSwap({ size: 256 * MIB });
  await using container = await Container.boot();
  const watched = new Watched(container);
  container.copy(deb, "/var/tmp/first.deb");
  await variant(
    deb,
    `${container.tree}/var/tmp/broken.deb`,
    `${version}+1`,
    (tree) =>
      Deno.writeTextFileSync(`${tree}/DEBIAN/preinst`, "#!/bin/sh\nexit 1\n", {
        mode: 0o755,
      }),
  );
  await variant(deb, `${container.tree}/var/tmp/second.deb`, `${version}+2`);

  // Installed: enabled, started, and without caps it has nothing to do.
  await container.must("dpkg", "--install", "/var/tmp/first.deb");
  assertEquals(
    await container.must("systemctl", "is-enabled", "rcap"),
    "enabled\n",
  );
  assertEquals(
    await container.must("systemctl", "is-active", "rcap"),
    "active\n",
  );
  assertMatch(
    await container.must("systemctl", "status", "rcap"),
    /Status: "no cap is configured, so there is nothing to do"/,
  );
  assertMatch(
    await container.must("rcap", "stat", "1", "1"),
    /^no group: the configuration in force contains no cap$/m,
  );
  assertEquals(await container.must("rcap", "--version"), `${version}\n`);
  assertMatch(
    await container.must("rcap", "check"),
    /^The configuration is valid, with 0 caps\.$/m,
  );
  assertEquals(await container.must("dpkg", "--verify", "rcap"), "");

  // A service is capped, which the configuration of comments is edited for.
  Deno.writeTextFileSync(
    `${container.tree}/etc/systemd/system/hoarder.service`,
    HOARDER,
  );
  await container.must("systemctl", "daemon-reload");
  await container.must("systemctl", "start", "hoarder");
  await eventually(
    "the service hoards",
    async () => await watched.rss() > 60 * MIB,
  );
  const configuration = `${container.tree}/etc/rcap.toml`;
  const shipped = Deno.readTextFileSync(configuration);
  assertEquals(
    shipped.split("\n").filter((line) => line !== "" && !line.startsWith("#")),
    [],
  );
  Deno.writeTextFileSync(configuration, shipped + CAP);
  await container.must("systemctl", "reload", "rcap");
  await eventually(
    "the cap is met",
    async () => await watched.rss() <= MOST_RSS,
  );
  const first = await watched.assertWorking();

  // An upgrade that fails leaves the daemon at work.
  const failed = await container.run(
    "dpkg",
    "--install",
    "/var/tmp/broken.deb",
  );
  assertEquals(failed.code, 1);
  assertMatch(failed.stderr, /pre-installation script/);
  assertMatch(
    await container.must("dpkg-query", "--show", "rcap"),
    new RegExp(`\\t${version.replaceAll(".", "\\.")}\n$`),
  );
  const kept = await watched.assertWorking();

  // An upgrade keeps the configuration, and restarts the daemon.
  const upgrade = await container.must(
    "dpkg",
    "--install",
    "/var/tmp/second.deb",
  );
  assert(!upgrade.includes("onfiguration file"), upgrade);
  assertEquals(Deno.readTextFileSync(configuration), shipped + CAP);
  const second = await watched.assertWorking(kept);
  assert(second !== first);
  assert(await watched.rss() <= MOST_RSS);
  assertEquals(
    await container.must("systemctl", "is-enabled", "rcap"),
    "enabled\n",
  );

  // What drop-ins, recordings and learnt state leave.
  for (const folder of ["/etc/rcap.d", "/var/lib/rcap/recordings"]) {
    Deno.mkdirSync(container.tree + folder, { recursive: true });
    Deno.writeTextFileSync(`${container.tree}${folder}/a.toml`, "");
  }

  // Removed: the configuration and what was learnt stay.
  await container.must("dpkg", "--remove", "rcap");
  assertEquals(await watched.pid("rcap"), 0);
  for (
    const path of ["/etc/rcap.toml", "/etc/rcap.d/a.toml", "/var/lib/rcap"]
  ) {
    assert(container.has(path), path);
  }
  for (const path of ["/usr/bin/rcap", "/lib/systemd/system/rcap.service"]) {
    assert(!container.has(path), path);
  }
  assertEquals((await container.run("test", "-e", "/run/rcap")).code, 1);

  // Purged: nothing stays.
  await container.must("dpkg", "--purge", "rcap");
  const left = await container.must(
    "find",
    "/etc",
    "/usr",
    "/var",
    "/run",
    "-xdev",
    "-name",
    "*rcap*",
    "-not",
    "-path",
    "/var/log/journal/*",
  );
  assertEquals(left, "");
  // The service has lost nothing, and is as it was.
  assertEquals(
    await container.must("systemctl", "is-active", "hoarder"),
    "active\n",
  );
});
