/**
 * Boots virtual machines on QEMU's software emulation, which works wherever
 * programs run: it needs no help of the processor or of the host's kernel.
 * QEMU, too, comes from Debian's packages, with all of its libraries.
 *
 * See qemu-system(1).
 *
 * @module
 */

import { fetchPackages } from "./debian.ts";

/** What to boot, and how. */
export interface BootOptions {
  /** The file of the kernel. */
  image: string;
  /** The file of the first file system. */
  initramfs: string;
  /** As for `-cpu`. */
  cpu: string;
  /**
   * Whether its time depends on the instructions that it executes alone: a nanosecond
   * each, and none is waited for while it has nothing to do. Otherwise its time is that of
   * this machine, whose load then shows in it.
   */
  countsInstructions?: boolean;
  /** Images of disks, which become `/dev/vda` and so on. */
  disks?: readonly string[];
  /** More parameters of the kernel. */
  parameters?: string;
  /** Whether it goes on after a reboot, which is the end of others. */
  reboots?: boolean;
  /** Where to keep what the machine writes to its two serial ports. */
  folder: string;
  timeoutSeconds: number;
}

/** What a machine wrote until it powered off. */
export interface BootResult {
  /** On the first serial port: the kernel's messages. */
  console: string;
  /** On the second one. */
  results: string;
  /** Why it did not power off by itself, if it did not. */
  failure?: string;
}

/** What `timeout` exits with when it had to end the program. */
const TIMED_OUT = 124;

/** Boots a machine and waits until it powers off. */
export async function boot(
  {
    image,
    initramfs,
    cpu,
    countsInstructions,
    disks = [],
    parameters = "",
    reboots = false,
    folder,
    timeoutSeconds,
  }: BootOptions,
): Promise<BootResult> {
  const qemu = await fetchPackages({
    release: "trixie",
    name: "qemu",
    packages: ["qemu-system-x86"],
  });
  const libraries = `${qemu}/usr/lib/x86_64-linux-gnu`;
  const [consolePath, resultsPath] = [`${folder}/console`, `${folder}/results`];
  const { code, stderr } = await new Deno.Command("timeout", {
    args: [
      // It ends the machine even where nobody is left to wait for it.
      ["--foreground", "--signal=KILL", `${timeoutSeconds}`],
      // Run like this, it takes no library of the host.
      [`${libraries}/ld-linux-x86-64.so.2`, "--library-path", libraries],
      [`${qemu}/usr/bin/qemu-system-x86_64`],
      ["-L", `${qemu}/usr/share/qemu`, "-L", `${qemu}/usr/share/seabios`],
      ["-accel", "tcg", "-cpu", cpu, "-smp", "1", "-m", "2G"],
      countsInstructions
        ? ["-icount", "shift=0,sleep=off", "-rtc", "clock=vm"]
        : [],
      ["-nodefaults", "-display", "none"],
      reboots ? [] : ["-no-reboot"],
      disks.flatMap((file) => [
        "-drive",
        `file=${file},format=raw,if=virtio,cache=unsafe`,
      ]),
      ["-serial", `file:${consolePath}`, "-serial", `file:${resultsPath}`],
      ["-kernel", image, "-initrd", initramfs],
      // A panic becomes a reboot, and that the end.
      ["-append", `console=ttyS0 panic=-1 ${parameters}`],
    ].flat(),
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  return {
    console: read(consolePath),
    results: read(resultsPath),
    failure: failureOf(code, new TextDecoder().decode(stderr), timeoutSeconds),
  };
}

function failureOf(
  code: number,
  complaints: string,
  timeoutSeconds: number,
): string | undefined {
  if (code === 0) return undefined;
  // KILL is a signal that `timeout` ends with itself.
  if (code === TIMED_OUT || code === 128 + 9) {
    return `it was still running after ${timeoutSeconds} s`;
  }
  return `QEMU ended with ${code}: ${complaints.trim()}`;
}

function read(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}
