/**
 * Proves that the swap that docs/install.md describes survives a reboot: a Debian with
 * systemd starts in a virtual machine, does what the page says, reboots, and has the swap
 * again, with a priority above that of a disk: see `reboot.sh`.
 *
 * `deno task test:vm` runs this, as machine `reboot`.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { assertRuns } from "../../scripts/package/run.ts";
import { cleanSystem } from "../support/container.ts";
import { allow, DEADLINE_SECONDS } from "../support/deadline.ts";
import { blocksOf } from "../support/markdown.ts";
import { readPage } from "../support/pages.ts";
import { requirePrograms } from "../support/programs.ts";
import { binary, isChosen } from "./choice.ts";
import { Guest } from "./guest.ts";
import { boot } from "./qemu.ts";

/** How long the machine may run; emulated, it takes its time. */
const TIMEOUT_SECONDS = 1500;

/** The system; the kernel for virtual machines has zram and the drivers of their disks. */
const PACKAGES = [
  "systemd",
  "systemd-sysv",
  "udev",
  "kmod",
  "initramfs-tools",
  "linux-image-cloud-amd64",
  "systemd-zram-generator",
].join(",");

/** A small initramfs, which the emulation unpacks faster. */
const FEW_MODULES = `
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
echo MODULES=list >"$1/etc/initramfs-tools/conf.d/modules"
printf 'virtio_pci\\nvirtio_blk\\next4\\n' >"$1/usr/share/initramfs-tools/modules.d/disks"
`;

const FSTAB = `/dev/vda / ext4 defaults 0 0
/dev/vdb none swap sw 0 0
`;

const UNIT = `[Unit]
After=swap.target
[Service]
Type=oneshot
ExecStart=/root/reboot.sh
[Install]
WantedBy=multi-user.target
`;

/**
 * An emulated processor finds disks late; systemd waits for them for 90 s otherwise:
 * kernel-command-line(7).
 */
const PATIENCE = "systemd.default_device_timeout_sec=900";

/** What has nothing to do with swap, and takes long. */
const MASKED = [
  "systemd-journal-flush.service",
  "systemd-udev-settle.service",
  "getty.target",
  "timers.target",
  "apt-daily.timer",
  "systemd-logind.service",
];

const MIB = 2 ** 20;

if (isChosen("reboot")) {
  Deno.test("swap that docs/install.md describes survives a reboot", async () => {
    await requirePrograms({ mmdebstrap: "mmdebstrap", zstd: "zstd" });
    await allow(DEADLINE_SECONDS + TIMEOUT_SECONDS);
    const folder = Deno.makeTempDirSync({
      dir: "/var/tmp",
      prefix: "rcap-reboot-",
    });
    try {
      const guest = await rebooted(folder);
      try {
        check(guest);
      } catch (error) {
        throw guest.explain(error);
      }
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  });
}

/** Runs the machine. */
async function rebooted(folder: string): Promise<Guest> {
  const tree = `${folder}/tree`;
  Deno.mkdirSync(tree);
  const archive = await cleanSystem(
    "trixie",
    "trixie-reboot",
    PACKAGES,
    FEW_MODULES,
  );
  await assertRuns("tar", ["-C", tree, "--zstd", "-xf", archive]);
  furnish(tree);
  const [root, swap] = [`${folder}/root`, `${folder}/swap`];
  for (const [path, size] of [[root, 1024 * MIB], [swap, 64 * MIB]] as const) {
    using file = Deno.openSync(path, { create: true, write: true });
    file.truncateSync(size);
  }
  await assertRuns("mke2fs", ["-q", "-t", "ext4", "-d", tree, root]);
  await assertRuns("mkswap", ["--quiet", swap]);
  const kernel = (start: string) => {
    const names = [...Deno.readDirSync(`${tree}/boot`)].map(({ name }) => name);
    return `${tree}/boot/${names.find((name) => name.startsWith(start))}`;
  };
  const { console, results, failure } = await boot({
    image: kernel("vmlinuz"),
    initramfs: kernel("initrd"),
    cpu: "max,-la57",
    disks: [root, swap],
    parameters: `root=/dev/vda rw ${PATIENCE} ${
      MASKED.map((unit) => `systemd.mask=${unit}`).join(" ")
    }`,
    reboots: true,
    folder,
    timeoutSeconds: TIMEOUT_SECONDS,
  });
  const guest = new Guest(results, console);
  if (failure === undefined) return guest;
  throw guest.explain(`the machine did not end well: ${failure}`);
}

/** Adds rcap, disks, and what runs at every start. */
function furnish(tree: string): void {
  const copy = (from: string, to: string) => {
    Deno.copyFileSync(from, `${tree}${to}`);
    Deno.chmodSync(`${tree}${to}`, 0o755);
  };
  const script = (name: string) => new URL(name, import.meta.url).pathname;
  copy(binary(), "/usr/bin/rcap");
  for (const name of ["reboot.sh", "report.sh"]) {
    copy(script(name), `/root/${name}`);
  }
  const units = `${tree}/etc/systemd/system`;
  Deno.writeTextFileSync(`${tree}/root/documented.sh`, documented());
  Deno.writeTextFileSync(`${tree}/etc/fstab`, FSTAB);
  Deno.writeTextFileSync(`${units}/rcap-reboot.service`, UNIT);
  Deno.mkdirSync(`${units}/multi-user.target.wants`, { recursive: true });
  Deno.symlinkSync(
    "../rcap-reboot.service",
    `${units}/multi-user.target.wants/rcap-reboot.service`,
  );
}

/** What the page says to do, once the package is there. */
function documented(): string {
  const install = "apt install systemd-zram-generator\n";
  const block = blocksOf(readPage("docs/install.md"))
    .find(({ text }) => text.startsWith(install));
  assert(block !== undefined);
  return block.text.slice(install.length);
}

/** What `swaps` shows. */
function swapsIn(text: string) {
  const lines = text.trim().split("\n");
  const priorities = lines.slice(2, -1).map((line) => {
    const [path, , , , priority] = line.split(/\s+/);
    return [path, Number(priority)] as const;
  });
  return {
    boot: lines[0],
    priorities: new Map(priorities),
    algorithms: lines.at(-1),
  };
}

function check(guest: Guest): void {
  guest.output("documented");
  const before = swapsIn(guest.output("swaps_before"));
  const after = swapsIn(guest.output("swaps_after"));
  assert(before.boot !== after.boot);
  for (const { priorities } of [before, after]) {
    assertEquals([...priorities.keys()].sort(), ["/dev/vdb", "/dev/zram0"]);
    assertEquals(priorities.get("/dev/zram0"), 100);
    assert((priorities.get("/dev/vdb") ?? 0) < 0);
  }
  // As the configuration of the page has it, and not by default.
  assert(after.algorithms?.includes("[zstd]"), after.algorithms);
  const { capabilities } = guest.json<
    { capabilities: { name: string; status: string; detail: string }[] }
  >("doctor");
  const lasting = capabilities.find(({ name }) => name === "swap at boot");
  assertEquals(lasting?.status, "ok");
  assert(lasting?.detail.includes("zram0"), lasting?.detail);
  guest.output("done");
}
