/**
 * Swap that a test makes and removes: on a compressed memory device, see the
 * kernel's admin-guide/blockdev/zram.rst, or in a file. The machine's own swap is
 * not changed, except by tests that need a machine without swap: they turn it off
 * and on again afterwards.
 *
 * It needs root, and Debian's `mkswap`, `swapon` and `swapoff`.
 *
 * @module
 */

import { until } from "./workload.ts";

const MIB = 1024 * 1024;
const ZRAM_CONTROL = "/sys/class/zram-control";

/** Devices and files that this module swaps to now. */
const own = new Set<string>();

/** Swap in use. Disposing brings its pages back and removes it. */
export interface Swap extends AsyncDisposable {
  /** The device or file, as in `/proc/swaps`. */
  readonly path: string;
}

export interface SwapOptions {
  /** In bytes, of uncompressed pages. */
  size: number;
  /** Swap with a higher priority fills first; by default the kernel chooses. */
  priority?: number;
}

/** Swaps to a new zram device. */
export async function zramSwap({ size, priority }: SwapOptions): Promise<Swap> {
  await using cleanup = new AsyncDisposableStack();
  if (!exists(ZRAM_CONTROL)) await run("modprobe", "zram", "num_devices=0");
  // Reading this file makes the device.
  const id = Deno.readTextFileSync(`${ZRAM_CONTROL}/hot_add`).trim();
  const [device, control] = [`/dev/zram${id}`, `/sys/block/zram${id}`];
  cleanup.defer(() =>
    // A program that examines new devices, like udev, may have it open for a little
    // longer.
    until(
      () => tryWrite(`${ZRAM_CONTROL}/hot_remove`, id),
      `${device} to be removable`,
    )
  );
  Deno.writeTextFileSync(`${control}/disksize`, `${size}`);
  await enable(device, cleanup, priority);
  return owned(device, cleanup);
}

/**
 * Swaps to a new file, which must be on a file system that supports swap: ext4 and
 * xfs do, tmpfs and overlays do not.
 */
export async function fileSwap(
  path: string,
  { size, priority }: SwapOptions,
): Promise<Swap> {
  await using cleanup = new AsyncDisposableStack();
  {
    // Written, not extended by truncation, because the kernel refuses files with
    // holes.
    using file = Deno.openSync(path, {
      createNew: true,
      write: true,
      mode: 0o600,
    });
    cleanup.defer(() => Deno.removeSync(path));
    const zeros = new Uint8Array(MIB);
    for (let rest = size; rest > 0;) {
      rest -= file.writeSync(zeros.subarray(0, rest));
    }
  }
  await enable(path, cleanup, priority);
  return owned(path, cleanup);
}

/** Swaps to a new zram device, or to a new file if there is no zram. */
export async function anySwap(options: SwapOptions): Promise<Swap> {
  try {
    return await zramSwap(options);
  } catch (noZram) {
    try {
      const path = `/var/tmp/swap-${crypto.randomUUID()}`;
      return await fileSwap(path, options);
    } catch (noFile) {
      throw new Error(`${messageOf(noZram)}; ${messageOf(noFile)}`);
    }
  }
}

/** Whether `anySwap` works here, tested by making a little swap briefly. */
export async function canSwap(): Promise<
  { able: true } | { able: false; reason: string }
> {
  if (Deno.uid() !== 0) return { able: false, reason: "swap needs root" };
  try {
    await using _swap = await anySwap({ size: MIB });
    return { able: true };
  } catch (error) {
    return { able: false, reason: messageOf(error) };
  }
}

/**
 * Turns off all swap of the machine, so that its pages come back into memory.
 * Disposing turns it on again with the same settings.
 */
export async function withoutSwap(): Promise<AsyncDisposable> {
  await using cleanup = new AsyncDisposableStack();
  for (const { path, priority } of swaps()) {
    await run("swapoff", path);
    // The kernel assigns negative priorities itself, in the order of swapon.
    const options = priority < 0 ? [] : ["--priority", `${priority}`];
    cleanup.defer(() => run("swapon", ...options, path));
  }
  const moved = cleanup.move();
  return { [Symbol.asyncDispose]: () => moved.disposeAsync() };
}

/** Whether the machine has swap that this module did not make. */
export function hasOtherSwap(): boolean {
  return swapPaths().some((path) => !own.has(path));
}

/** The devices and files that the machine swaps to. */
export function swapPaths(): string[] {
  return swaps().map(({ path }) => path);
}

/** What the machine swaps to: proc_swaps(5). */
function swaps(): { path: string; priority: number }[] {
  const [, ...rows] = Deno.readTextFileSync("/proc/swaps").trim().split("\n");
  return rows.map((row) => {
    const [path, _type, _size, _used, priority] = row.split(/\s+/);
    return { path, priority: Number(priority) };
  });
}

/** Free swap of the whole machine in bytes. */
export function swapFree(): number {
  const [, kilobytes] = /^SwapFree:\s+(\d+) kB$/m.exec(
    Deno.readTextFileSync("/proc/meminfo"),
  ) ?? [];
  return Number(kilobytes) * 1024;
}

async function enable(
  path: string,
  cleanup: AsyncDisposableStack,
  priority?: number,
): Promise<void> {
  await run("mkswap", path);
  const options = priority === undefined ? [] : ["--priority", `${priority}`];
  await run("swapon", ...options, path);
  own.add(path);
  cleanup.defer(async () => {
    await run("swapoff", path);
    own.delete(path);
  });
}

/** Transfers the cleanup to the caller, because nothing can fail any more. */
function owned(path: string, cleanup: AsyncDisposableStack): Swap {
  const moved = cleanup.move();
  return { path, [Symbol.asyncDispose]: () => moved.disposeAsync() };
}

/** Runs a program of `/sbin`, which may not be in the PATH. */
async function run(program: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(`/sbin/${program}`, {
    args,
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) {
    throw new Error(
      `${program} ${args.join(" ")}: ${
        new TextDecoder().decode(stderr).trim()
      }`,
    );
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function tryWrite(path: string, text: string): boolean {
  try {
    Deno.writeTextFileSync(path, text);
    return true;
  } catch (error) {
    // EBUSY, for which Deno has no error class.
    if (messageOf(error).includes("os error 16)")) return false;
    throw error;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
