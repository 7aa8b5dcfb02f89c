/**
 * The `bpf(2)` system call. For now it only answers whether the kernel lets this
 * user make a BPF map, the first thing any use of BPF does.
 *
 * @module
 */

import { Errno, errno, libc } from "./libc.ts";

// arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
const SYS_BPF: Readonly<Partial<Record<typeof Deno.build.arch, bigint>>> = {
  x86_64: 321n,
  aarch64: 280n,
};

// include/uapi/linux/bpf.h.
const BPF_MAP_CREATE = 0n;
const BPF_MAP_TYPE_ARRAY = 2;

/**
 * Makes a small BPF map and drops it again.
 *
 * @returns 0, or the error number: `EPERM` without CAP_BPF, `ENOSYS` where the
 * kernel or this architecture has no `bpf`.
 */
export function probeBpf(): number {
  const number = SYS_BPF[Deno.build.arch];
  if (number === undefined) return Errno.ENOSYS;
  // union bpf_attr for BPF_MAP_CREATE: type, key size, value size, entries.
  const attributes = new Uint32Array(32);
  attributes.set([BPF_MAP_TYPE_ARRAY, 4, 4, 1]);
  const fd = libc().bpf(
    number,
    BPF_MAP_CREATE,
    attributes,
    BigInt(attributes.byteLength),
  );
  if (fd < 0) return errno();
  libc().close(fd);
  return 0;
}
