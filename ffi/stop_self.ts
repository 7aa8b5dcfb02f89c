/**
 * Stops this process as a terminal's Ctrl-Z does: kill(2), signal(7).
 *
 * @module
 */

const SYMBOLS = {
  getpid: { parameters: [], result: "i32" },
  kill: { parameters: ["i32", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** `SIGSTOP`: <asm/signal.h> of x86-64 Linux, and <sys/iso/signal_iso.h> of illumos. */
const SIGSTOP = { linux: 19, illumos: 23 };

/** Stops this process. Returns when it is continued. */
export function stopSelf(): void {
  const isLinux = Deno.build.os === "linux";
  const library = Deno.dlopen(isLinux ? "libc.so.6" : "libc.so.1", SYMBOLS);
  const { getpid, kill } = library.symbols;
  kill(getpid(), isLinux ? SIGSTOP.linux : SIGSTOP.illumos);
  library.close();
}
