/**
 * The namespaces that rcap is in: namespaces(7).
 *
 * @module
 */

import { isMissing, SystemError } from "../../errors.ts";
import { File } from "../../../ffi/file.ts";

/**
 * Inode numbers of the namespaces that the machine starts with: `PROC_*_INIT_INO`
 * of include/linux/proc_ns.h.
 */
const FIRST = {
  pid: 0xefff_fffc,
  user: 0xefff_fffd,
  cgroup: 0xefff_fffb,
} as const;

/** A kind of namespace that makes a difference to rcap. */
export type NamespaceKind = keyof typeof FIRST;

const KINDS: readonly NamespaceKind[] = ["pid", "user", "cgroup"];

/**
 * The kinds of which rcap is in another namespace than the machine's first, as in
 * a container.
 *
 * @throws SystemError when `/proc` does not tell.
 */
export function nestedNamespaces(): NamespaceKind[] {
  using directory = File.openPlace("/proc/self/ns");
  return KINDS.filter((kind) => {
    try {
      return directory.readLinkAt(kind) !== `${kind}:[${FIRST[kind]}]`;
    } catch (error) {
      // The kernel was built without this kind, so that there is one only.
      if (isMissing(error)) return false;
      throw error;
    }
  });
}

/** Whether rcap is in another namespace of a kind than the machine's first, as far as `/proc` tells. */
export function isNested(kind: NamespaceKind): boolean {
  try {
    return nestedNamespaces().includes(kind);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return false;
  }
}
