/**
 * What works on this machine, and why not the rest: every capability that rcap
 * can use is tried, on rcap itself.
 *
 * @module
 */

import { MappedMemory } from "../../../ffi/mapped_memory.ts";
import { BpfError, SharedMap } from "../../../ffi/bpf.ts";
import {
  File,
  isDenied,
  O_WRONLY,
  readDirectory,
  readTextFile,
  readTextFileIfAny,
} from "../../../ffi/file.ts";
import { SystemError } from "../../../ffi/libc.ts";
import { hasPagemapScan, ownPagemap } from "../../../ffi/pagemap.ts";
import { MADV_PAGEOUT, Pidfd, RemoteRanges } from "../../../ffi/pidfd.ts";
import { effectiveUid, memoryInfo, pageSize } from "../../../ffi/system.ts";
import { CapabilityError } from "../../errors.ts";
import { formatSize } from "../../report/units.ts";
import type { Finding } from "../platform.ts";
import { lockdownMode } from "./lockdown.ts";
import { lacking, PTE_CAPABILITIES, SCAN_CAPABILITIES } from "./privileges.ts";
import { PageTables } from "./page_tables.ts";

/** Tries everything. */
export async function examine(): Promise<Finding[]> {
  return [
    user(),
    pidfd(),
    await processMadvise(),
    clearRefs(),
    smaps(),
    await pagemap(),
    pagedata(),
    swap(),
    zram(),
    largePages(),
    cgroups(),
    btf(),
    bpf(),
  ];
}

function user(): Finding {
  const needed = lacking(SCAN_CAPABILITIES);
  const who = effectiveUid() === 0 ? "root" : `uid ${effectiveUid()}`;
  const common = { name: "privileges", required: true };
  if (needed.length > 0) {
    return {
      ...common,
      status: "missing",
      detail: `${who}, without ${needed.join(", ")}`,
      meaning:
        "inspect works on your own processes only, scan on none but as a dry run",
      remedy:
        "run as root, or give the binary what it needs: setcap cap_sys_ptrace,cap_sys_nice,cap_dac_override,cap_bpf,cap_perfmon+ep /usr/local/bin/rcap",
    };
  }
  const forPte = lacking(PTE_CAPABILITIES);
  return {
    ...common,
    status: "ok",
    detail: `${who}, with ${SCAN_CAPABILITIES.join(", ")}${
      forPte.length > 0
        ? `; without ${forPte.join(", ")}`
        : `, ${PTE_CAPABILITIES.join(", ")}`
    }`,
    meaning: "processes of every user can be inspected and scanned",
    remedy: null,
  };
}

function pidfd(): Finding {
  return tried({
    name: "pidfd",
    required: true,
    meaning: "a process is told apart from another that gets its pid",
    remedy: "use Linux 5.3 or newer",
  }, () => {
    using self = Pidfd.open(Deno.pid);
    return self.isAlive() ? "pidfd_open works" : "";
  });
}

async function processMadvise(): Promise<Finding> {
  const what = {
    name: "process_madvise",
    required: true,
    meaning: "pages of a running process can be paged out",
    remedy:
      "use Linux 5.10 or newer, and allow process_madvise where a seccomp filter forbids it",
  };
  try {
    using memory = MappedMemory.anonymous(16 * pageSize());
    memory.contents.fill(1);
    using self = Pidfd.open(Deno.pid);
    const ranges = new RemoteRanges(1);
    ranges.add(memory.start, memory.contents.length);
    await self.madvise(ranges, { from: 0, advice: MADV_PAGEOUT });
    return ok(what, "MADV_PAGEOUT works");
  } catch (error) {
    return missing(what, error);
  }
}

function clearRefs(): Finding {
  return tried({
    name: "clear_refs",
    required: true,
    meaning: "reference bits can be reset, so that an observation can start",
    remedy: "use a kernel with CONFIG_PROC_PAGE_MONITOR",
  }, () => {
    using file = File.open("/proc/self/clear_refs", O_WRONLY);
    file.write("1");
    return "/proc/PID/clear_refs works";
  });
}

function smaps(): Finding {
  return tried({
    name: "smaps",
    required: true,
    meaning: "references are known a mapping at a time",
    remedy: "use a kernel with CONFIG_PROC_PAGE_MONITOR",
  }, () => {
    const works = readTextFile("/proc/self/smaps").includes("\nReferenced:");
    return works ? "/proc/PID/smaps tells of references" : "";
  });
}

async function pagemap(): Promise<Finding> {
  const what = {
    name: "pagemap",
    required: true,
    meaning: "present pages of partly resident mappings are found",
    remedy: "use a kernel with CONFIG_PROC_PAGE_MONITOR",
  };
  try {
    using file = File.open("/proc/self/pagemap");
    if (await hasPagemapScan(ownPagemap(file))) {
      return ok(what, "PAGEMAP_SCAN works");
    }
    return {
      ...what,
      status: "degraded",
      detail: "no PAGEMAP_SCAN; /proc/PID/pagemap is read instead",
      meaning: `${what.meaning}, slowly where much address space is unused`,
      remedy: "use Linux 6.7 or newer",
    };
  } catch (error) {
    return missing(what, error);
  }
}

function pagedata(): Finding {
  const what = { name: "pagedata", required: false };
  try {
    using _tables = PageTables.open();
    return {
      ...what,
      status: "ok",
      detail: "source pte: page tables can be read; smaps works too",
      meaning: "references are known for every page",
      remedy: null,
    };
  } catch (error) {
    if (!(error instanceof CapabilityError)) throw error;
    return {
      ...what,
      status: "degraded",
      detail: `source smaps; pte does not work: ${error.message}`,
      meaning:
        "a mapping with any page in use counts as in use as a whole and stays",
      remedy: "see privileges, BTF and BPF",
    };
  }
}

function swap(): Finding {
  const { totalSwap, freeSwap } = memoryInfo();
  const common = { name: "swap", required: false };
  const remedy =
    "add swap: a zram device (see zram), or mkswap and swapon on a file or partition";
  const meaning =
    "anonymous memory cannot be paged out, only file-backed memory can";
  if (totalSwap === 0) {
    return { ...common, status: "degraded", detail: "none", meaning, remedy };
  }
  const detail = `${formatSize(freeSwap)} free of ${formatSize(totalSwap)}: ${
    swapDevices().join(", ")
  }`;
  if (freeSwap === 0) {
    return { ...common, status: "degraded", detail, meaning, remedy };
  }
  return {
    ...common,
    status: "ok",
    detail,
    meaning: "anonymous memory can be paged out",
    remedy: null,
  };
}

/** Names of the swap devices: proc_swaps(5). */
function swapDevices(): string[] {
  const lines = readTextFile("/proc/swaps").trimEnd().split("\n").slice(1);
  return lines.map((line) => line.split(/\s+/)[0]);
}

function zram(): Finding {
  const what = { name: "zram", required: false };
  const inUse = swapDevices().filter((name) => /^\/dev\/zram\d+$/.test(name));
  if (inUse.length > 0) {
    return {
      ...what,
      status: "ok",
      detail: inUse.map(zramUse).join("; "),
      meaning: "what is paged out stays in memory, compressed",
      remedy: null,
    };
  }
  // Not by hot_add in zram-control: reading that makes a device.
  const isThere = readDirectory("/sys/class").includes("zram-control");
  return {
    ...what,
    status: isThere ? "degraded" : "missing",
    detail: isThere ? "the kernel has it; not used as swap" : "not loaded",
    meaning: "what is paged out goes to a disk, if to anything",
    remedy: `${
      isThere ? "" : "modprobe zram; "
    }zramctl --find --size 4G, then mkswap and swapon on the device it names`,
  };
}

/** How full a zram device is: Documentation/admin-guide/blockdev/zram.rst, mm_stat. */
function zramUse(device: string): string {
  const folder = `/sys/block/${device.slice("/dev/".length)}`;
  const size = Number(readTextFileIfAny(`${folder}/disksize`) ?? 0);
  const [original = 0, , used = 0] =
    (readTextFileIfAny(`${folder}/mm_stat`) ?? "").trim().split(/\s+/).map(
      Number,
    );
  return `${device}, ${formatSize(size)}: holds ${formatSize(original)} in ${
    formatSize(used)
  } of memory`;
}

function largePages(): Finding {
  const setting = readTextFileIfAny(
    "/sys/kernel/mm/transparent_hugepage/enabled",
  );
  const chosen = /\[(\w+)\]/.exec(setting ?? "")?.[1] ?? "not in this kernel";
  return {
    name: "large pages",
    status: "ok",
    detail: `transparent huge pages: ${chosen}`,
    meaning: chosen === "always"
      ? "most anonymous memory is in pages of 2 MiB, which are referenced as a whole; paging out a part splits them"
      : "memory is referenced 4 KiB at a time unless programs ask for more",
    remedy: null,
    required: false,
  };
}

function cgroups(): Finding {
  const what = {
    name: "cgroups",
    meaning: "the selectors cgroup: and unit: work",
    required: false,
  };
  const types = new Set(
    readTextFile("/proc/self/mounts").split("\n").map((line) =>
      line.split(" ")[2]
    ),
  );
  const versions = [["cgroup", "1"], ["cgroup2", "2"]]
    .filter(([type]) => types.has(type)).map(([, version]) => version);
  if (versions.length > 0) {
    return ok({ ...what, remedy: null }, `version ${versions.join(" and ")}`);
  }
  return {
    ...what,
    status: "missing",
    detail: "not mounted",
    meaning: "the selectors cgroup: and unit: match nothing",
    remedy: "mount -t cgroup2 none /sys/fs/cgroup",
  };
}

function btf(): Finding {
  return tried({
    name: "BTF",
    required: false,
    meaning: "the kernel describes its own data, which the pte source needs",
    remedy:
      "use a kernel with CONFIG_DEBUG_INFO_BTF, as distributions' kernels have",
  }, () => {
    using _file = File.open("/sys/kernel/btf/vmlinux");
    return "/sys/kernel/btf/vmlinux";
  });
}

function bpf(): Finding {
  const what = {
    name: "BPF",
    required: false,
    meaning: "kernel memory can be read, which the pte source needs",
    remedy: "run as root, or with CAP_BPF and CAP_PERFMON; see kernel lockdown",
  };
  const lockdown = lockdownMode();
  const note = lockdown && lockdown !== "none" ? `; lockdown: ${lockdown}` : "";
  try {
    using _map = new SharedMap(pageSize());
    return ok(what, `maps can be made${note}`);
  } catch (error) {
    if (!(error instanceof BpfError || error instanceof SystemError)) {
      throw error;
    }
    return { ...what, status: "missing", detail: error.message + note };
  }
}

type Capability = Omit<Finding, "status" | "detail">;

/** Tries something that tells what it found, nothing when it does not work. */
function tried(capability: Capability, step: () => string): Finding {
  try {
    const detail = step();
    if (detail) return ok(capability, detail);
    return { ...capability, status: "missing", detail: "does not work" };
  } catch (error) {
    return missing(capability, error);
  }
}

function ok(capability: Capability, detail: string): Finding {
  return { ...capability, status: "ok", detail, remedy: null };
}

function missing(capability: Capability, error: unknown): Finding {
  if (!(error instanceof SystemError)) throw error;
  const remedy = isDenied(error)
    ? "run as root; look for a sandbox or security module that forbids it"
    : capability.remedy;
  return { ...capability, status: "missing", detail: error.message, remedy };
}
