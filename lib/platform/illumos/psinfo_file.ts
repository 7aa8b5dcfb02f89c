/**
 * `/proc/<pid>/psinfo` of illumos: what ps(1) shows of a process. The format is
 * described in proc(5) and `<sys/procfs.h>` of illumos.
 *
 * @module
 */

import { PSINFO } from "../../../ffi/illumos_structs.ts";
import { MalformedData, StructReader } from "../../../ffi/struct.ts";
import type { Usage } from "../../../ffi/usage.ts";
import type { ProcessEntry } from "../platform.ts";

/** The parts of a psinfo that rcap uses. */
export interface Psinfo extends ProcessEntry {
  /** The real user id. */
  readonly uid: number;
  readonly projectId: number;
  readonly zoneId: number;
}

/** A limit in kilobytes: more than any machine has, and exact when converted to bytes. */
const MOST_KILOBYTES = 2 ** 43;

/** A limit for times in seconds since 1970: the year 2242. */
const MOST_SECONDS = 2 ** 33;

/**
 * Decodes the resource usage of a process from its psinfo.
 *
 * @throws MalformedData if the file is not valid.
 */
export function decodeUsage(file: Uint8Array): Usage {
  const { rss } = decodePsinfo(file);
  const reader = new StructReader(PSINFO, file);
  const cpu = reader.count("pr_time_sec", MOST_SECONDS) +
    reader.count("pr_time_nsec", 1e9) / 1e9;
  return { cpu, rss };
}

/**
 * Decodes a psinfo file. The start time is in microseconds since 1970. The layout
 * consists of what changes with a new program: its name, arguments and their addresses.
 *
 * @throws MalformedData if the file is not valid.
 */
export function decodePsinfo(file: Uint8Array): Psinfo {
  if (file.length !== PSINFO.size) {
    throw new MalformedData(
      `psinfo has ${file.length} bytes, not ${PSINFO.size}`,
    );
  }
  const reader = new StructReader(PSINFO, file);
  reader.moveTo(0);
  const isZombie = reader.count("pr_nlwp", 2 ** 31) === 0;
  const image = reader.count("pr_size", MOST_KILOBYTES) * 1024;
  const comm = reader.text("pr_fname");
  const layout = [
    comm,
    reader.text("pr_psargs"),
    reader.bigint("pr_argv").toString(16),
    reader.bigint("pr_envp").toString(16),
  ].join("\0");
  return {
    pid: reader.count("pr_pid", 2 ** 31),
    ppid: reader.count("pr_ppid", 2 ** 31),
    comm,
    startTime: reader.count("pr_start_sec", MOST_SECONDS) * 1e6 +
      Math.floor(reader.count("pr_start_nsec", 1e9) / 1000),
    layout,
    // Processes of the system have no address space of their own.
    isSystem: !isZombie && image === 0,
    isZombie,
    // Processes are paged out by their address space there, whichever threads they have.
    mainThreadExited: false,
    rss: reader.count("pr_rssize", MOST_KILOBYTES) * 1024,
    image,
    majorFaults: 0,
    uid: reader.number("pr_uid"),
    projectId: reader.number("pr_projid"),
    zoneId: reader.number("pr_zoneid"),
  };
}
