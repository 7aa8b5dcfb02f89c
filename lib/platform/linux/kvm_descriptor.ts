/**
 * Recognizes virtual machines of KVM by the descriptors of a process, where the kernel
 * cannot be asked who else maps its memory.
 *
 * @module
 */

import { NoSuchProcess } from "../../errors.ts";
import type { ProcDir } from "./proc_dir.ts";

/**
 * What the descriptor of a virtual machine leads to: `kvm_dev_ioctl_create_vm` of
 * virt/kvm/kvm_main.c. A file cannot have this name: its path begins with a slash.
 */
const VIRTUAL_MACHINE = "anon_inode:kvm-vm";

/**
 * The most descriptors that are looked at, in their order. A process may have a
 * million; the one of a virtual machine is among the first that it opens.
 */
const MOST_DESCRIPTORS = 4096;

/**
 * Whether a process has a virtual machine of KVM.
 *
 * @throws ProcessError if its descriptors cannot be read.
 */
export function hasVirtualMachine(directory: ProcDir): boolean {
  using descriptors = directory.openFile("fd");
  const names = descriptors.names(MOST_DESCRIPTORS).slice(0, MOST_DESCRIPTORS);
  return names.some((name) => targetOf(directory, name) === VIRTUAL_MACHINE);
}

/** What a descriptor leads to; `undefined` if it has been closed meanwhile. */
function targetOf(directory: ProcDir, name: string): string | undefined {
  try {
    return directory.readLink(`fd/${name}`);
  } catch (error) {
    if (!(error instanceof NoSuchProcess)) throw error;
    return undefined;
  }
}
