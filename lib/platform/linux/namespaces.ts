/**
 * The namespaces that rcap runs in: namespaces(7).
 *
 * @module
 */

import { isMissing, SystemError } from "../../errors.ts";
import { File } from "../../../ffi/file.ts";

/**
 * Inode numbers of the machine's initial namespaces: `PROC_*_INIT_INO` of
 * include/linux/proc_ns.h.
 */
const FIRST = {
  pid: 0xefff_fffc,
  user: 0xefff_fffd,
  cgroup: 0xefff_fffb,
} as const;

/** A kind of namespace that matters to rcap. */
export type NamespaceKind = keyof typeof FIRST;

const KINDS: readonly NamespaceKind[] = ["pid", "user", "cgroup"];

/**
 * Returns the kinds for which rcap is not in the machine's initial namespace, as in
 * a container.
 *
 * @throws SystemError if `/proc` does not show it.
 */
export function nestedNamespaces(): NamespaceKind[] {
  using directory = File.openPlace("/proc/self/ns");
  return KINDS.filter((kind) => {
    try {
      return directory.readLinkAt(kind) !== `${kind}:[${FIRST[kind]}]`;
    } catch (error) {
      // The kernel was built without this kind.
      if (isMissing(error)) return false;
      throw error;
    }
  });
}

/**
 * Whether rcap is outside the machine's initial namespace of a kind, as far as
 * `/proc` shows.
 */
export function isNested(kind: NamespaceKind): boolean {
  try {
    return nestedNamespaces().includes(kind);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return false;
  }
}
