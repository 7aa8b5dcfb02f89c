/**
 * The structures of illumos that rcap reads, in their 64-bit layout, and related
 * constants.
 *
 * Facts: proc(5), `<sys/procfs.h>`, `<sys/stat.h>`, `<sys/fcntl.h>`, `<sys/dirent.h>`,
 * `<sys/signal.h>`, `<sys/swap.h>` and `<pwd.h>` of illumos.
 *
 * @module
 */

import { defineStruct } from "./struct.ts";

/** The header of a `/proc/<pid>/pagedata`. */
export const PRPAGEHEADER = defineStruct({
  name: "prpageheader_t",
  size: 32,
  fields: {
    pr_tstamp_sec: [0, "i64"],
    pr_tstamp_nsec: [8, "i64"],
    pr_nmap: [16, "i64"],
    pr_npage: [24, "i64"],
  },
});

/** The header of one mapping in a `/proc/<pid>/pagedata`, followed by one byte per page. */
export const PRASMAP = defineStruct({
  name: "prasmap_t",
  size: 104,
  fields: {
    pr_vaddr: [0, "u64"],
    pr_npage: [8, "u64"],
    pr_mapname: [16, { text: 64 }],
    pr_offset: [80, "i64"],
    pr_mflags: [88, "i32"],
    pr_pagesize: [92, "i32"],
    pr_shmid: [96, "i32"],
  },
});

/** One mapping in a `/proc/<pid>/xmap`. */
export const PRXMAP = defineStruct({
  name: "prxmap_t",
  size: 216,
  fields: {
    pr_vaddr: [0, "u64"],
    pr_size: [8, "u64"],
    pr_mapname: [16, { text: 64 }],
    pr_offset: [80, "i64"],
    pr_mflags: [88, "i32"],
    pr_pagesize: [92, "i32"],
    pr_shmid: [96, "i32"],
    pr_dev: [104, "u64"],
    pr_ino: [112, "u64"],
    pr_rss: [120, "u64"],
    pr_anon: [128, "u64"],
    pr_locked: [136, "u64"],
    pr_hatpagesize: [152, "u64"],
  },
});

/** A `/proc/<pid>/psinfo`. */
export const PSINFO = defineStruct({
  name: "psinfo_t",
  size: 416,
  fields: {
    pr_nlwp: [4, "i32"],
    pr_pid: [8, "i32"],
    pr_ppid: [12, "i32"],
    pr_uid: [24, "u32"],
    pr_euid: [28, "u32"],
    pr_size: [48, "u64"],
    pr_rssize: [56, "u64"],
    pr_start_sec: [88, "i64"],
    pr_start_nsec: [96, "i64"],
    pr_time_sec: [104, "i64"],
    pr_time_nsec: [112, "i64"],
    pr_fname: [136, { text: 16 }],
    pr_psargs: [152, { text: 80 }],
    pr_argv: [240, "u64"],
    pr_envp: [248, "u64"],
    pr_taskid: [260, "i32"],
    pr_projid: [264, "i32"],
    pr_zoneid: [276, "i32"],
  },
});

/** The result of fstat(2). */
export const STAT = defineStruct({
  name: "struct stat",
  size: 128,
  fields: {
    st_dev: [0, "u64"],
    st_ino: [8, "u64"],
    st_mode: [16, "u32"],
    st_nlink: [20, "u32"],
    st_uid: [24, "u32"],
    st_gid: [28, "u32"],
    st_size: [40, "i64"],
    st_mtim_sec: [64, "i64"],
    st_mtim_nsec: [72, "i64"],
  },
});

/** A record lock of fcntl(2); `l_type` and `l_whence`, shorts, are at 0 and 2. */
export const FLOCK = defineStruct({
  name: "flock_t",
  size: 64,
  fields: {
    l_start: [8, "i64"],
    l_len: [16, "i64"],
    l_sysid: [24, "i32"],
    l_pid: [28, "i32"],
  },
});

/** One entry of the table that swapctl(2) fills in. */
export const SWAPENT = defineStruct({
  name: "swapent_t",
  size: 48,
  fields: {
    ste_path: [0, "u64"],
    ste_pages: [24, "i64"],
    ste_free: [32, "i64"],
  },
});

/** The result of sigaction(2). */
export const SIGACTION = defineStruct({
  name: "struct sigaction",
  size: 32,
  fields: {
    sa_flags: [0, "i32"],
    sa_handler: [8, "u64"],
  },
});

/** The offset of the length of an entry of getdents(2); its name starts at {@linkcode DIRENT_NAME}. */
export const DIRENT_RECLEN = 16;
export const DIRENT_NAME = 18;

/** The offset of the user id in `struct passwd`. */
export const PASSWD_UID = 16;

// Bits of a page in pagedata, besides those of lib/memory/pagedata.ts.
export const PG_HWMAPPED = 0x04;

// Flags of a mapping, besides those of lib/memory/mapping_flags.ts.
export const MA_BREAK = 0x10;
export const MA_STACK = 0x20;
export const MA_ISM = 0x80;
export const MA_SHM = 0x200;
