/**
 * Finds out what works on this illumos machine, and why the rest does not. Tries every
 * capability that rcap can use, on rcap itself.
 *
 * @module
 */

import { IllumosFiles } from "../../../ffi/illumos_files.ts";
import { IllumosLibc } from "../../../ffi/illumos_libc.ts";
import { IllumosSystem } from "../../../ffi/illumos_system.ts";
import { Libproc } from "../../../ffi/libproc.ts";
import { RcapError } from "../../errors.ts";
import { countOf, formatSize } from "../../report/units.ts";
import type { Finding } from "../platform.ts";
import { type IllumosPaths, IllumosPlatform } from "./illumos_platform.ts";
import type { ProcessFiles } from "./process_files.ts";
import { ProjectFile } from "./project_file.ts";

type Capability = Omit<Finding, "status" | "detail">;

/** The number of processes, with three descriptors each, that the pool should have room for. */
const COMFORTABLE_PROCESSES = 64;

/** Tries everything. */
export async function examine(paths: IllumosPaths): Promise<Finding[]> {
  return [
    await libc(paths),
    await libproc(paths),
    await privileges(paths),
    ...await processFiles(paths),
    await swap(paths),
    await descriptors(paths),
    await projects(paths),
  ];
}

function libc({ libc: path }: IllumosPaths): Promise<Finding> {
  return tried({
    name: "libc",
    required: true,
    meaning: "the files of processes, and rcap's own, can be read",
    remedy: "use illumos or Solaris on x86-64, and a 64-bit build of rcap",
  }, () => {
    const libc = new IllumosLibc(path);
    new IllumosSystem(path, libc);
    new IllumosFiles(path, libc);
    return `${path} has every function`;
  });
}

function libproc({ libc, libproc: path }: IllumosPaths): Promise<Finding> {
  return tried({
    name: "libproc",
    required: true,
    meaning:
      "a process can be controlled, so that it pages itself out; it is stopped meanwhile",
    remedy: "install the package that has libproc (system/library on illumos)",
  }, () => {
    new Libproc(path, new IllumosLibc(libc));
    return `${path} has every function`;
  });
}

function privileges(paths: IllumosPaths): Promise<Finding> {
  const what = {
    name: "privileges",
    required: true,
    meaning: "processes of every user can be inspected and scanned",
    remedy: "run as root, or with the privileges proc_owner and proc_session",
  };
  return tried(what, () => {
    const uid = systemOf(paths).effectiveUid();
    if (uid === 0) return "root";
    return {
      ...what,
      status: "missing",
      detail: `uid ${uid}`,
      meaning: "inspect and scan work on your own processes only",
    };
  });
}

/** Tries the files of processes, on rcap itself. */
function processFiles(paths: IllumosPaths): Promise<Finding[]> {
  const remedy =
    "check that proc is mounted (mount -F proc proc /proc); see libc";
  const file = (
    name: string,
    meaning: string,
    look: (files: ProcessFiles) => Promise<string>,
  ) =>
    tried({ name, required: true, meaning, remedy }, async () => {
      using platform = new IllumosPlatform(paths);
      return await look(platform.files(platform.readProcess(Deno.pid)));
    });
  return Promise.all([
    file("psinfo", "processes and their sizes are known", (files) => {
      const { rss } = files.readPsinfo();
      return Promise.resolve(`rcap itself has ${formatSize(rss)} in memory`);
    }),
    file("pagedata", "references are known for every page", async (files) => {
      const { mappings, bits } = await files.readPagedata();
      return `${countOf(mappings.length, "mapping")} of ${
        countOf(bits.length, "page")
      }`;
    }),
    file("xmap", "what is in memory is known for every mapping", async (
      files,
    ) => countOf((await files.readXmap()).length, "mapping")),
  ]);
}

function swap(paths: IllumosPaths): Promise<Finding> {
  const what = {
    name: "swap",
    required: false,
    meaning: "anonymous memory can be paged out",
    remedy: "add swap: zfs create -V 4G rpool/swap2, then swap -a on it",
  };
  return tried(what, () => {
    const { total, free } = systemOf(paths).swap();
    if (free > 0) return `${formatSize(free)} free of ${formatSize(total)}`;
    return {
      ...what,
      status: "degraded",
      detail: total > 0 ? `none of ${formatSize(total)} is free` : "none",
      meaning:
        "anonymous memory cannot be paged out, only file-backed memory can",
    };
  });
}

function descriptors(paths: IllumosPaths): Promise<Finding> {
  const what = {
    name: "descriptors",
    required: false,
    meaning: "the files of scanned processes stay open from scan to scan",
    remedy: "raise the limit: ulimit -n 65536",
  };
  return tried(what, () => {
    using platform = new IllumosPlatform(paths);
    const processes = Math.floor(platform.pool.capacity / 3);
    const detail = `room for those of ${processes} processes`;
    if (processes >= COMFORTABLE_PROCESSES) return detail;
    return {
      ...what,
      status: "degraded",
      detail,
      meaning:
        "the files of further processes are opened again for every scan, which loses earlier references",
    };
  });
}

function projects(paths: IllumosPaths): Promise<Finding> {
  const what = {
    name: "projects",
    required: false,
    meaning: "caps of projects (rcap.max-rss) are enforced by rcap run",
    remedy: "correct them with projmod(8)",
  };
  return tried(what, () => {
    const file = new ProjectFile(paths.projects, new IllumosLibc(paths.libc));
    const { caps, problems } = file.changedCaps() ??
      { caps: undefined, problems: [] };
    const found = `${countOf(caps?.length ?? 0, "cap")} in ${file.path}`;
    if (problems.length === 0) return found;
    return {
      ...what,
      status: "degraded",
      detail: `${found}; ${problems.join("; ")}`,
    };
  });
}

function systemOf({ libc: path }: IllumosPaths): IllumosSystem {
  return new IllumosSystem(path, new IllumosLibc(path));
}

/** Tries a capability. The step returns the detail of a success, or a whole finding. */
async function tried(
  capability: Capability,
  step: () => string | Finding | Promise<string | Finding>,
): Promise<Finding> {
  try {
    const found = await step();
    if (typeof found !== "string") return found;
    return { ...capability, status: "ok", detail: found, remedy: null };
  } catch (error) {
    if (!(error instanceof RcapError)) throw error;
    return { ...capability, status: "missing", detail: error.message };
  }
}
