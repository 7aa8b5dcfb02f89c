/**
 * Flags of a mapping, with the values of illumos's `<sys/procfs.h>`. Every platform
 * translates its own flags to these.
 *
 * @module
 */

export const MA_EXEC = 0x01;
export const MA_WRITE = 0x02;
export const MA_READ = 0x04;
export const MA_SHARED = 0x08;
export const MA_ANON = 0x40;

/**
 * Flags of the schedctl page, through which an illumos thread and the kernel share
 * scheduling hints. A one-page mapping with exactly these flags is never paged out.
 */
export const SCHEDCTL_FLAGS = MA_SHARED | MA_READ | MA_WRITE | MA_EXEC |
  MA_ANON;
