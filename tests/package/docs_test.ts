/**
 * The scripts of the documentation, run as they are written on a clean Debian that systemd
 * has booted in a container, with the package of this version. A block that is not run has
 * the reason before it: `<!-- not run: REASON -->`.
 *
 * Three things differ from what a reader does: VERSION is that of this package, what is
 * observed is observed for a few seconds, and what would go on for ever ends after one
 * table, or a screen.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import denoJson from "../../deno.json" with { type: "json" };
import { Container } from "../support/container.ts";
import { allow } from "../support/deadline.ts";
import { MIB, requireRoot } from "../support/live.ts";
import { PACKAGES, packagesFolder } from "../support/packages.ts";
import { commandBlocks, PAGES, readPage } from "../support/pages.ts";
import { say } from "../support/say.ts";
import { zramSwap } from "../support/swap.ts";

requireRoot();

/** How long a command of rcap observes. */
const SECONDS = 3;

/** Where the wrapper of rcap writes what it has run, and with which exit code. */
const LOG = "/var/tmp/docs-commands";

/**
 * Stands before the real rcap in the path. A scan that says that the cap is not met has
 * done what it is for (exit 3). The screen of top gets a terminal, and a key. stat prints
 * one table, and waits for a daemon that has just been started.
 */
const WRAPPER = `#!/bin/sh
rcap=$(PATH=/usr/local/bin:/usr/bin command -v rcap) || exit 127
# In a unit it is as it is.
[ -z "\${INVOCATION_ID:-}" ] || exec "$rcap" "$@"
written=$*
case " $* " in
  " size "*" --from "*) ;;
  " size "* | " scan "*" --observe "*) set -- "$@" --observe ${SECONDS} ;;
  " record "*) set -- "$@" --for ${SECONDS} --every 1 ;;
  " stat "[0-9]*" "[0-9]*) ;;
  " stat "*)
    set -- "$@" 1
    for _ in 1 2 3 4 5 6 7 8 9; do
      "$rcap" "$@" >/dev/null 2>&1 && break
      sleep 1
    done
    ;;
esac
case " $* " in
  " top "*" --once "*) "$rcap" "$@" ;;
  " top "*)
    (sleep ${SECONDS}; printf q) |
      TERM=xterm script -qec "$rcap $*" /dev/null >/dev/null
    ;;
  *) timeout 60 "$rcap" "$@" ;;
esac
code=$?
printf '%s %s\\n' "$code" "$written" >>${LOG}
case $code:$1 in
  3:scan | 3:run) exit 0 ;;
esac
exit $code
`;

/**
 * A service with memory that it does not use, in a mapping of its own, since references
 * are known by mapping only in a container.
 */
const SERVICE =
  `$0 = "$ARGV[0]"; my $idle = "x" x (40 << 20); my $hot = "y" x (4 << 20);
while (1) { for (my $i = 0; $i < length $hot; $i += 4096) { substr($hot, $i, 1) = "z" }
            select undef, undef, undef, 0.2 }
`;

const CONFIGURATION = `
[[cap]]
name = "web"
select = ["unit:web"]
max_rss = "512M"

[[cap]]
name = "database"
select = ["unit:postgresql"]
max_rss = "4G"
`;

/** The services that the documentation speaks of. */
const SERVICES = ["web", "nginx", "postgresql"];

/** The pages in which the package is not there yet, and those that leave nothing behind. */
const FIRST = "docs/install.md";
const LAST = "docs/tutorial.md";

/** A page and all of its blocks of commands. */
const SCRIPTS = PAGES.map((page) => ({
  page,
  blocks: commandBlocks(page).filter(({ block }) => block.language === "sh"),
}));

/** Gives the processes of a unit the cgroup of that unit also in a hierarchy of systemd of version 1, which some machines have, but no container. */
const NAME_UNIT = `
set -eu
folder=/run/docs-named
grep -q :name=systemd: /proc/self/cgroup || exit 0
mkdir -p $folder
mountpoint -q $folder || mount -t cgroup -o none,name=systemd cgroup $folder
mkdir -p "$folder/system.slice/$1.service"
pid=$(systemctl show --property=MainPID --value "$1")
[ "$pid" = 0 ] || echo "$pid" > "$folder/system.slice/$1.service/cgroup.procs"
`;

Deno.test("every script of the documentation does what it says", async () => {
  allow(400);
  const packages = await packagesFolder();
  await using _swap = await zramSwap({ size: 512 * MIB });
  await using container = await Container.boot();
  prepare(container, packages);
  const system = new System(container);

  let commands = 0;
  let notRun = 0;
  const problems: string[] = [];
  for (const { page, blocks } of inOrder()) {
    if (page === FIRST) await container.run("dpkg", "--purge", "rcap");
    for (const { block, commands: lines } of blocks) {
      if (block.notRun !== undefined) {
        notRun += lines.length;
        continue;
      }
      commands += lines.length;
      if (page !== FIRST) await system.ready();
      const problem = await system.script(block.text, lines);
      if (problem) problems.push(`${page}:${block.line}: ${problem}`);
    }
  }
  say(`${commands} command lines were run, ${notRun} were not`);
  assertEquals(problems, []);
  assert(commands > 40, `${commands}`);
});

function inOrder() {
  const place = ({ page }: { page: string }) =>
    page === FIRST ? 0 : page === LAST ? 2 : 1;
  return SCRIPTS.toSorted((a, b) => place(a) - place(b));
}

/** Files and folders that scripts assume. */
function prepare(container: Container, packages: string): void {
  for (const name of [...Object.values(PACKAGES), "SHA256SUMS"]) {
    container.copy(`${packages}/${name}`, `/root/${name}`);
  }
  Deno.mkdirSync(`${container.tree}/opt/docs`);
  const write = (path: string, text: string, mode = 0o644) =>
    Deno.writeTextFileSync(`${container.tree}${path}`, text, { mode });
  write("/opt/docs/rcap", WRAPPER, 0o755);
  write("/opt/docs/service.pl", SERVICE);
  write("/etc/apt/apt.conf.d/docs", 'APT::Get::Assume-Yes "true";\n');
  for (const { page } of SCRIPTS) {
    for (const [path, text] of filesOf(page)) write(path, text);
  }
}

/** Files whose content is a block, after a comment with their path. */
function filesOf(page: string): [path: string, text: string][] {
  const files = /<!-- file: (\S+) -->\s*```\w*\n(.*?)^```$/gms;
  return [...readPage(page).matchAll(files)]
    .map(([, path = "", text = ""]) => [path, text]);
}

/** The container with rcap, and services. */
class System {
  readonly #container: Container;
  #isReady = false;

  constructor(container: Container) {
    this.#container = container;
  }

  /** Installs the package unless it is there, and sees to it that the daemon runs. */
  async ready(): Promise<void> {
    if (!this.#isReady) {
      this.#isReady = true;
      await this.#container.must("dpkg", "--install", `/root/${PACKAGES.deb}`);
      Deno.writeTextFileSync(
        `${this.#container.tree}/etc/rcap.toml`,
        CONFIGURATION,
      );
      for (const name of SERVICES) {
        const program = ["perl", "/opt/docs/service.pl", name];
        await this.#container.must("systemd-run", `--unit=${name}`, ...program);
        await this.#named(name);
      }
      await this.#container.must("systemctl", "restart", "rcap");
    }
    await this.#container.must("systemctl", "enable", "--quiet", "rcap");
    await this.#container.must("systemctl", "start", "rcap");
  }

  async #named(unit: string): Promise<void> {
    await this.#container.must("sh", "-c", NAME_UNIT, "sh", unit);
  }

  /** Runs a script, and returns what went wrong. */
  async script(
    text: string,
    commands: readonly string[][],
  ): Promise<string | undefined> {
    const script = text.replaceAll("VERSION", denoJson.version);
    Deno.writeTextFileSync(`${this.#container.tree}${LOG}`, "");
    const { code, stdout, stderr } = await this.#container.run(
      "env",
      "--chdir=/root",
      "--unset=INVOCATION_ID",
      "HOME=/root",
      "PATH=/opt/docs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      "sh",
      "-euc",
      script,
    );
    const done = Deno.readTextFileSync(`${this.#container.tree}${LOG}`);
    if (code !== 0) return `exit ${code}: ${stderr.trim()}\n${stdout}\n${done}`;
    const expected = commands.filter(([program]) => program === "rcap").length;
    const got = done.split("\n").length - 1;
    if (got !== expected) return `${got} of ${expected} of rcap ran:\n${done}`;
    for (const [, unit] of script.matchAll(/systemd-run --unit=([\w-]+)/g)) {
      await this.#named(unit);
    }
    return undefined;
  }
}
