/**
 * Finds out what works on this machine, and why the rest does not. Tries every
 * capability that rcap can use, on rcap itself.
 *
 * A failing examination does not end the others: its error becomes its finding.
 *
 * @module
 */

import { BpfError, SharedMap } from "../../../ffi/bpf.ts";
import {
  File,
  O_WRONLY,
  readDirectory,
  readTextFile,
  readTextFileIfAny,
} from "../../../ffi/file.ts";
import { Errno } from "../../../ffi/libc.ts";
import { MappedMemory } from "../../../ffi/mapped_memory.ts";
import { hasPagemapScan, ownPagemap } from "../../../ffi/pagemap.ts";
import { MADV_PAGEOUT, RemoteRanges } from "../../../ffi/pidfd.ts";
import { pageSize } from "../../../ffi/system.ts";
import {
  CapabilityError,
  isDenied,
  isMissing,
  SystemError,
} from "../../errors.ts";
import { formatSize } from "../../report/units.ts";
import type { Finding } from "../platform.ts";
import { bpfRefusal, lockdownMode } from "./bpf_refusal.ts";
import { COST_EXAMINATIONS } from "./doctor_costs.ts";
import type { Examination } from "./examination.ts";
import { lastingSwap } from "./lasting_swap.ts";
import {
  isNested,
  type NamespaceKind,
  nestedNamespaces,
} from "./namespaces.ts";
import {
  effectOfHidepid,
  mayHide,
  procOptions,
  procProblem,
} from "./own_proc.ts";
import { PageTables } from "./page_tables.ts";
import {
  lacking,
  PTE_CAPABILITIES,
  SCAN_CAPABILITIES,
  USER_NAMESPACE,
  whoami,
} from "./privileges.ts";
import { swapsIfKnown } from "./swaps.ts";
import { isSysMounted } from "./sysfs.ts";
import { openPidfd, requirePageout, systemMemory } from "./system_calls.ts";

/** Tries every capability. */
export async function examine(): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const examination of EXAMINATIONS) {
    findings.push(await findingOf(examination));
  }
  return findings;
}

async function findingOf(
  { look, without, ...what }: Examination,
): Promise<Finding> {
  try {
    const seen = await look();
    return typeof seen === "string"
      ? { ...what, status: "ok", detail: seen, remedy: null }
      : {
        ...what,
        meaning: seen.status === "ok" ? what.meaning : without,
        remedy: seen.status === "ok" ? null : what.remedy,
        ...seen,
      };
  } catch (error) {
    return {
      ...what,
      status: "missing",
      meaning: isWithoutProc(error)
        ? "this cannot be found out without /proc"
        : without,
      detail: (error instanceof CapabilityError && error.problem) ||
        (error instanceof Error && error.message) || String(error),
      remedy: remedyOf(error) ?? what.remedy,
    };
  }
}

/** What to do about an error, if known. */
function remedyOf(error: unknown): string | undefined {
  if (error instanceof CapabilityError) return error.remedy;
  if (isDenied(error)) {
    return "run as root; look for a sandbox or security module that forbids it";
  }
  const isReadOnly = error instanceof SystemError &&
    error.errno === Errno.EROFS;
  return isWithoutProc(error) || isReadOnly ? "see proc" : undefined;
}

/** Whether an examination failed because `/proc` is not as it should be. */
function isWithoutProc(error: unknown): boolean {
  return isMissing(error) && procProblem() !== undefined;
}

const privileges: Examination = {
  name: "privileges",
  required: true,
  meaning: "processes of every user can be inspected and scanned",
  without:
    "inspect works on your own processes only, and scan only as a dry run on them",
  remedy:
    "run as root, or give the binary what it needs: setcap cap_sys_ptrace,cap_sys_nice,cap_dac_override,cap_bpf,cap_perfmon+ep $(command -v rcap)",
  look() {
    const needed = lacking(SCAN_CAPABILITIES);
    if (needed.length > 0) {
      return {
        status: "missing",
        detail: `${whoami()}, without ${needed.join(", ")}${
          isNested("user") ? ", in a user namespace" : ""
        }`,
      };
    }
    const held = SCAN_CAPABILITIES.join(", ");
    if (isNested("user")) {
      return {
        status: "missing",
        detail:
          `${whoami()}, with ${held} in a user namespace only: they do not reach beyond it`,
        meaning:
          "inspect works on processes of this namespace only, and scan only as a dry run on them",
        remedy: USER_NAMESPACE.remedy,
      };
    }
    const forPte = lacking(PTE_CAPABILITIES);
    return `${whoami()}, with ${held}${
      forPte.length > 0
        ? `; without ${forPte.join(", ")}`
        : `, ${PTE_CAPABILITIES.join(", ")}`
    }`;
  },
};

const proc: Examination = {
  name: "proc",
  required: true,
  meaning: "pids in /proc are those that system calls take",
  without: "no command touches any process",
  remedy: "mount -t proc proc /proc",
  look() {
    const problem = procProblem();
    if (problem) return { status: "missing", ...problem };
    const options = procOptions();
    const { hidepid, hasPidsOnly } = options;
    const own = "of the pid namespace that rcap runs in";
    if (mayHide(options)) {
      return {
        status: "degraded",
        detail: `${own}; hidepid=${hidepid}`,
        meaning: effectOfHidepid(options),
        remedy:
          "run as root, or mount proc without hidepid (ProtectProc=default in a systemd unit)",
      };
    }
    if (hasPidsOnly) {
      return {
        status: "degraded",
        detail: `${own}; subset=pid`,
        meaning:
          "scan and inspect work; run does not, since it is not known how much memory is available",
        remedy:
          "mount proc without subset=pid (ProcSubset=all in a systemd unit)",
      };
    }
    return hidepid ? `${own}; hidepid=${hidepid} does not hold for rcap` : own;
  },
};

/** What it means that rcap is in a namespace of its own, and the container option that avoids it. */
const NESTED: Readonly<
  Record<NamespaceKind, { meaning: string; option: string }>
> = {
  pid: {
    meaning:
      "only the processes of this pid namespace are seen, and references are known a mapping at a time",
    option: "--pid=host",
  },
  user: {
    meaning: "privileges do not reach beyond this user namespace",
    option: "--userns=host",
  },
  cgroup: {
    meaning:
      "cgroup: and unit: see paths from rcap's own cgroup on, with /../ for cgroups outside of it",
    option: "--cgroupns=host",
  },
};

const namespaces: Examination = {
  name: "namespaces",
  required: false,
  meaning: "rcap sees processes, users and cgroups as the machine has them",
  without: "it is not known whether rcap sees the whole machine",
  remedy: "see proc",
  look() {
    const nested = nestedNamespaces();
    if (nested.length === 0) return "the machine's own: pid, user, cgroup";
    return {
      status: "degraded",
      detail: `not the machine's own: ${nested.join(", ")}`,
      meaning: nested.map((kind) => NESTED[kind].meaning).join("; "),
      remedy: `run rcap on the host, or in a container with ${
        nested.map((kind) => NESTED[kind].option).join(" ")
      }`,
    };
  },
};

const pidfd: Examination = {
  name: "pidfd",
  required: true,
  meaning: "a process is distinguished from another that reuses its pid",
  without: "nothing can be paged out",
  remedy: "use Linux 5.3 or newer",
  look() {
    using self = openPidfd(Deno.pid);
    if (self.isAlive()) return "pidfd_open works";
    return {
      status: "degraded",
      detail: "pidfd_open works, pidfd_send_signal does not",
      meaning: "set and reload do not reach a running daemon",
      remedy:
        "allow pidfd_send_signal where a system call filter (seccomp) forbids it",
    };
  },
};

const processMadvise: Examination = {
  name: "process_madvise",
  required: true,
  meaning: "pages of a running process can be paged out",
  without: "nothing can be paged out",
  remedy:
    "use Linux 5.10 or newer, and allow process_madvise where a seccomp filter forbids it",
  async look() {
    await requirePageout();
    using memory = MappedMemory.anonymous(16 * pageSize());
    memory.contents.fill(1);
    using self = openPidfd(Deno.pid);
    const ranges = new RemoteRanges(1);
    ranges.add(memory.start, memory.contents.length);
    await self.madvise(ranges, { from: 0, advice: MADV_PAGEOUT });
    return "MADV_PAGEOUT works";
  },
};

const clearRefs: Examination = {
  name: "clear_refs",
  required: true,
  meaning: "reference bits can be reset, so that an observation can start",
  without: "no process can be observed",
  remedy: "use a kernel with CONFIG_PROC_PAGE_MONITOR",
  look() {
    using file = File.open("/proc/self/clear_refs", O_WRONLY);
    file.write("1");
    return "/proc/PID/clear_refs works";
  },
};

const smaps: Examination = {
  name: "smaps",
  required: true,
  meaning: "references are known a mapping at a time",
  without: "no process can be scanned",
  remedy: "use a kernel with CONFIG_PROC_PAGE_MONITOR",
  look() {
    return readTextFile("/proc/self/smaps").includes("\nReferenced:")
      ? "/proc/PID/smaps shows references"
      : { status: "missing", detail: "/proc/PID/smaps has no Referenced" };
  },
};

const pagemap: Examination = {
  name: "pagemap",
  required: true,
  meaning: "present pages of partly resident mappings are found",
  without: "no process can be scanned",
  remedy: "use a kernel with CONFIG_PROC_PAGE_MONITOR",
  async look() {
    using file = File.open("/proc/self/pagemap");
    if (await hasPagemapScan(ownPagemap(file))) return "PAGEMAP_SCAN works";
    return {
      status: "degraded",
      detail: "no PAGEMAP_SCAN; /proc/PID/pagemap is read instead",
      meaning:
        "present pages of partly resident mappings are found, slowly where much address space is unused",
      remedy: "use Linux 6.7 or newer",
    };
  },
};

const pagedata: Examination = {
  name: "pagedata",
  required: false,
  meaning: "references are known for every page",
  without:
    "a mapping with any page in use counts as in use as a whole and stays",
  remedy: "see privileges, BTF and BPF",
  look() {
    try {
      using tables = PageTables.open();
      const reset = tables.hasSoftDirty
        ? "MADV_COLD, which leaves soft-dirty bits to CRIU and others"
        : "clear_refs";
      return `source pte: page tables can be read, and reset by ${reset}; smaps works too`;
    } catch (error) {
      if (!(error instanceof CapabilityError)) throw error;
      return {
        status: "degraded",
        detail: `source smaps; pte does not work: ${error.problem}`,
        remedy: error.remedy ?? pagedata.remedy,
      };
    }
  },
};

const mapCounts: Examination = {
  name: "map counts",
  required: false,
  meaning:
    "shared and pinned memory is known page by page, and sizes are read without waiting for the process",
  without:
    "smaps and pagemap show what is shared, and pinned memory shows only when it stays",
  remedy: "see pagedata",
  look() {
    try {
      using tables = PageTables.open();
      return tables.whyNoCounts
        ? {
          status: "degraded",
          detail: tables.whyNoCounts.message,
          remedy: "use a kernel whose struct page rcap knows: 6.0 or newer",
        }
        : "how often each page is mapped can be read";
    } catch (error) {
      if (!(error instanceof CapabilityError)) throw error;
      return { status: "degraded", detail: "page tables cannot be read" };
    }
  },
};

const swap: Examination = {
  name: "swap",
  required: false,
  meaning: "anonymous memory can be paged out",
  without: "anonymous memory cannot be paged out, only file-backed memory can",
  remedy:
    "add swap: a zram device (see zram), or mkswap and swapon on a file or partition",
  look() {
    const { totalSwap, freeSwap } = systemMemory();
    if (totalSwap === 0) return { status: "degraded", detail: "none" };
    return {
      status: freeSwap === 0 ? "degraded" : "ok",
      detail: `${formatSize(freeSwap)} free of ${formatSize(totalSwap)}: ${
        swapDevicesIfKnown()?.join(", ") ?? "/proc/swaps does not tell where"
      }`,
    };
  },
};

const swapAtBoot: Examination = {
  name: "swap at boot",
  required: false,
  meaning: "there will be swap after a reboot",
  without:
    "no unit and no line of /etc/fstab adds swap when the machine starts: after a reboot, anonymous memory could not be paged out",
  remedy:
    "apt-get install systemd-zram-generator, or add a line to /etc/fstab (fstab(5)); see docs/install.md",
  look() {
    const lasting = lastingSwap();
    return lasting.length > 0
      ? lasting.join(", ")
      : { status: "degraded", detail: "nothing found that adds it" };
  },
};

/** Names of the swap devices; `undefined` if `/proc/swaps` does not tell. */
function swapDevicesIfKnown(): string[] | undefined {
  return swapsIfKnown()?.map(({ path }) => path);
}

const zram: Examination = {
  name: "zram",
  required: false,
  meaning: "what is paged out stays in memory, compressed",
  without: "what is paged out goes to a disk, if there is swap",
  remedy:
    "modprobe zram; zramctl --find --size 4G, then mkswap and swapon on the device it names",
  look() {
    const devices = swapDevicesIfKnown();
    if (!devices) {
      return {
        status: "degraded",
        detail: "/proc/swaps does not tell whether it is used as swap",
        meaning: "it is not known where paged-out memory goes",
        remedy: "see proc",
      };
    }
    const inUse = devices.filter((name) => /^\/dev\/zram\d+$/.test(name));
    if (inUse.length > 0) return inUse.map(zramUse).join("; ");
    requireSys();
    // Not by reading hot_add in zram-control, which would create a device.
    return readDirectory("/sys/class").includes("zram-control")
      ? {
        status: "degraded",
        detail: "the kernel has it; not used as swap",
        remedy:
          "zramctl --find --size 4G, then mkswap and swapon on the device it names",
      }
      : { status: "missing", detail: "not loaded" };
  },
};

/** How full a zram device is: Documentation/admin-guide/blockdev/zram.rst, mm_stat. */
function zramUse(device: string): string {
  const folder = `/sys/block/${device.slice("/dev/".length)}`;
  const size = readTextFileIfAny(`${folder}/disksize`);
  const use = readTextFileIfAny(`${folder}/mm_stat`);
  if (size === undefined || use === undefined) {
    return `${device}; /sys does not tell how full it is`;
  }
  const [original, , used] = use.trim().split(/\s+/).map(Number);
  return `${device}, ${formatSize(Number(size))}: holds ${
    formatSize(original)
  } in ${formatSize(used)} of memory`;
}

/** @throws CapabilityError if no sysfs is mounted. */
function requireSys(): void {
  if (isSysMounted()) return;
  throw new CapabilityError("no sysfs is mounted at /sys", {
    remedy: "mount -t sysfs sysfs /sys",
  });
}

const largePages: Examination = {
  name: "large pages",
  required: false,
  meaning: "memory is referenced 4 KiB at a time unless programs ask for more",
  without: "it is not known how large the pages are that programs get",
  remedy: "mount -t sysfs sysfs /sys",
  look() {
    requireSys();
    const setting = readTextFileIfAny(
      "/sys/kernel/mm/transparent_hugepage/enabled",
    );
    const chosen = /\[(\w+)\]/.exec(setting ?? "")?.[1] ?? "not in this kernel";
    const detail = `transparent huge pages: ${chosen}`;
    return chosen !== "always" ? detail : {
      status: "ok",
      detail,
      meaning:
        "most anonymous memory is in pages of 2 MiB, which are referenced as a whole; paging out a part splits them",
    };
  },
};

const cgroups: Examination = {
  name: "cgroups",
  required: false,
  meaning: "the selectors cgroup: and unit: work",
  without: "the selectors cgroup: and unit: match nothing",
  remedy: "mount -t cgroup2 none /sys/fs/cgroup",
  look() {
    const mounts = readTextFile("/proc/self/mounts").split("\n");
    const types = new Set(mounts.map((line) => line.split(" ")[2]));
    const versions = [["cgroup", "1"], ["cgroup2", "2"]]
      .filter(([type]) => types.has(type)).map(([, version]) => version);
    if (versions.length === 0) {
      return { status: "missing", detail: "not mounted" };
    }
    const detail = `version ${versions.join(" and ")}`;
    return !isNested("cgroup") ? detail : {
      status: "degraded",
      detail: `${detail}, from rcap's own cgroup on`,
      meaning: `the selectors ${NESTED.cgroup.meaning}`,
      remedy:
        `run rcap on the host, or in a container with ${NESTED.cgroup.option}`,
    };
  },
};

const btf: Examination = {
  name: "BTF",
  required: false,
  meaning: "the kernel describes its own data, which the pte source needs",
  without: "the pte source does not work",
  remedy:
    "use a kernel with CONFIG_DEBUG_INFO_BTF, as distributions' kernels have",
  look() {
    requireSys();
    using _file = File.open("/sys/kernel/btf/vmlinux");
    return "/sys/kernel/btf/vmlinux";
  },
};

const bpf: Examination = {
  name: "BPF",
  required: false,
  meaning: "kernel memory can be read, which the pte source needs",
  without: "the pte source does not work",
  remedy: `run as root, or with ${
    PTE_CAPABILITIES.join(" and ")
  }; see kernel lockdown`,
  look() {
    const lockdown = lockdownMode();
    const note = lockdown && lockdown !== "none"
      ? `; lockdown: ${lockdown}`
      : "";
    try {
      using _map = new SharedMap(pageSize());
      const detail = `maps can be made${note}`;
      return lockdown !== "confidentiality" ? detail : {
        status: "missing",
        detail,
        remedy: "start the machine without lockdown, or in mode integrity",
      };
    } catch (error) {
      throw error instanceof BpfError ? bpfRefusal(error) : error;
    }
  },
};

const EXAMINATIONS: readonly Examination[] = [
  privileges,
  proc,
  namespaces,
  pidfd,
  processMadvise,
  clearRefs,
  smaps,
  pagemap,
  pagedata,
  mapCounts,
  swap,
  swapAtBoot,
  zram,
  largePages,
  ...COST_EXAMINATIONS,
  cgroups,
  btf,
  bpf,
];
