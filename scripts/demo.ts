/**
 * The demo: a real process with used and unused memory, anonymous and in files;
 * what rcap sees of it; and what remains in memory after a scan.
 *
 * Without swap only the file-backed part can be paged out; `--no-swap` shows this.
 *
 * @module
 */

import { formatSize } from "../lib/report/units.ts";
import { anySwap, swapFree } from "../tests/support/swap.ts";
import {
  type Region,
  residentOf,
  rssOf,
  Workload,
} from "../tests/support/workload.ts";
import { PERMISSIONS } from "./permissions.ts";
import { say } from "../tests/support/say.ts";

const MIB = 2 ** 20;
const ROOT = new URL("..", import.meta.url).pathname;

/** The parts of the workload's memory. */
const PARTS = [
  {
    name: "anonymous, left alone",
    isFile: false,
    isHot: false,
    size: 128 * MIB,
  },
  { name: "anonymous, in use", isFile: false, isHot: true, size: 32 * MIB },
  { name: "file, left alone", isFile: true, isHot: false, size: 64 * MIB },
  { name: "file, in use", isFile: true, isHot: true, size: 16 * MIB },
];

/** Swap for the anonymous part, with some spare room. */
const SWAP_SIZE = 256 * MIB;

/** What the cap allows in addition to the parts in use: the program itself. */
const ALLOWANCE = 16 * MIB;

/** A part that has been mapped. */
type Part = typeof PARTS[number] & { region: Region };

await using cleanup = new AsyncDisposableStack();
Deno.addSignalListener("SIGINT", async () => {
  await cleanup.disposeAsync();
  Deno.exit(130);
});
const hasSwap = await prepareSwap(cleanup);
const folder = await Deno.makeTempDir({
  dir: "/var/tmp",
  prefix: "rcap-demo-",
});
cleanup.defer(() => Deno.remove(folder, { recursive: true }));

const workload = cleanup.use(await Workload.start({ name: "demo" }));
const parts: Part[] = [];
for (const part of PARTS) {
  const region = await mapPart(workload, part);
  parts.push({ ...part, region });
}
const rss = rssOf(workload.pid);
explain(`Process ${workload.pid} holds ${formatSize(rss)}:`);
tell(parts, workload.pid);

explain("What it uses, as rcap sees it (mappings of a mebibyte and more):");
await rcap(["inspect", `${workload.pid}`], isLarge);

const kept = parts.filter(({ isHot, isFile }) =>
  isHot || (!hasSwap && !isFile)
);
const cap = kept.reduce((sum, { size }) => sum + size, ALLOWANCE);
const scan = ["scan", `pid:${workload.pid}`, "--cap", `${cap / MIB}M`];
explain("What a scan would do:");
await rcap([...scan, "--dry-run"]);
explain("The scan:");
await rcap(scan);

explain("What is left:");
tell(parts, workload.pid);
const usedParts = parts.filter(({ isHot }) => isHot);
if (
  !usedParts.every((part) => residentBytes(part, workload.pid) === part.size)
) {
  throw new Error("the memory in use has not stayed resident");
}
if (!await workload.checksum()) {
  throw new Error("the memory of the process has changed");
}
explain(
  "The process has read all of its memory again: every byte is as it was.",
);

/** Makes swap, or reports that there is none. */
async function prepareSwap(cleanup: AsyncDisposableStack): Promise<boolean> {
  if (!Deno.args.includes("--no-swap")) {
    if (swapFree() >= SWAP_SIZE) return true;
    try {
      cleanup.use(await anySwap({ size: SWAP_SIZE }));
      explain(
        `This machine has no ${
          formatSize(SWAP_SIZE)
        } of free swap: the demo adds that much, and takes it away again.`,
      );
      return true;
    } catch (error) {
      explain(
        `No swap can be added: ${
          error instanceof Error ? error.message : error
        }`,
      );
    }
  }
  if (swapFree() > 0) return true;
  explain(
    "There is no swap: anonymous memory stays, only file-backed memory can be paged out.",
  );
  return false;
}

/** Makes the workload map a part, and use it or not. */
async function mapPart(
  workload: Workload,
  { name, isFile, isHot, size }: typeof PARTS[number],
): Promise<Region> {
  const id = name.replaceAll(/\W+/g, "_");
  const region = isFile
    ? await workload.file(id, {
      path: writeFile(`${folder}/${id}`, size),
      shared: true,
    })
    : await workload.anon(id, size);
  if (isHot) await workload.hot(id);
  return region;
}

/**
 * Writes a file of random bytes through to the disk, because only clean pages can
 * be dropped.
 */
function writeFile(path: string, size: number): string {
  using file = Deno.openSync(path, { createNew: true, write: true });
  const bytes = crypto.getRandomValues(new Uint8Array(64 * 1024));
  for (let written = 0; written < size; written += bytes.length) {
    bytes[0]++;
    file.writeSync(bytes);
  }
  file.syncDataSync();
  return path;
}

/** Prints how much of each part is in memory. */
function tell(parts: Part[], pid: number): void {
  for (const part of parts) {
    const resident = formatSize(residentBytes(part, pid)).padStart(7);
    const size = formatSize(part.size).padStart(6);
    say(`  ${part.name.padEnd(22)} ${resident} of ${size} in memory`);
  }
}

function residentBytes({ region }: Part, pid: number): number {
  return residentOf(pid, region.start, region.end);
}

/** Runs rcap from source and prints its output, or some lines of it. */
async function rcap(
  args: string[],
  wanted: (line: string) => boolean = () => true,
): Promise<void> {
  say(`$ rcap ${args.join(" ")}`);
  const { stdout, stderr, code } = await new Deno.Command(Deno.execPath(), {
    args: ["run", ...PERMISSIONS, `${ROOT}main.ts`, ...args],
    stderr: "piped",
  }).output();
  const decoder = new TextDecoder();
  const lines = decoder.decode(stdout).trimEnd().split("\n");
  say(lines.filter(wanted).join("\n"));
  if (code !== 0) {
    throw new Error(`rcap ended with ${code}: ${decoder.decode(stderr)}`);
  }
}

/** Whether a line of inspect is not that of a small mapping. */
function isLarge(line: string): boolean {
  const [, , rss] = line.split(/ +/);
  return !line.startsWith("0x") || /[MG]$/.test(rss);
}

function explain(text: string): void {
  say(`\n${text}`);
}
