/**
 * The kernel of a release of Debian, as installations for virtual machines
 * have it: the same source as the one for hardware, with fewer drivers.
 *
 * @module
 */

import { fetchPackages, type Release } from "./debian.ts";
import { filesBelow } from "./files.ts";

/** The kernel and those modules of it that the virtual machine needs. */
export interface Kernel {
  /** As `uname -r` has it. */
  version: string;
  /** The file to boot. */
  image: string;
  /** Files of modules, compressed or not. */
  modules: string[];
}

/**
 * zram and KVM, and everything that one version of them or another depends on; and what
 * CRIU needs: lists of sockets, and nftables.
 */
const MODULES =
  /\/(zram|zsmalloc|lzo[^/]*|lz4[^/]*|842[^/]*|zstd[^/]*|kvm|kvm-amd|irqbypass|ccp|(unix|inet|tcp|udp|raw|af_packet|netlink)_diag|nf_tables|nfnetlink|(lib)?crc32c[^/]*)\.ko(\.\w+)?$/;

/** Fetches the newest kernel of a release. */
export async function fetchKernel(release: Release): Promise<Kernel> {
  const folder = await fetchPackages({
    release,
    name: "kernel",
    packages: ["linux-image-cloud-amd64"],
    // All in one package, or in sid one for the image and one for the modules.
    only: /^linux-(image|binary|modules)-\d/,
  });
  const files = [...filesBelow(folder)];
  const image = files.find((path) => /\/vmlinuz[^/]*$/.test(path));
  const modules = files.filter((path) => MODULES.test(path));
  const version = /\/modules\/([^/]+)\//.exec(modules[0])?.[1];
  if (image === undefined || version === undefined) {
    throw new Error(`no kernel with zram in the packages in ${folder}`);
  }
  return { version, image, modules };
}
