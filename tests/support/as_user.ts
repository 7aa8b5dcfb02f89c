/**
 * Runs rcap from source as an unprivileged user: `as_user.ts UID ARG…`.
 *
 * Deno and the sources may lie where that user cannot read them, so the user is
 * changed only once everything is loaded.
 *
 * @module
 */

import { main } from "../../main.ts";

const [uid, ...args] = Deno.args;
const libc = Deno.dlopen("libc.so.6", {
  prctl: { parameters: ["i32", "u64"], result: "i32" },
  setgroups: { parameters: ["usize", "pointer"], result: "i32" },
  setresgid: { parameters: ["u32", "u32", "u32"], result: "i32" },
  setresuid: { parameters: ["u32", "u32", "u32"], result: "i32" },
}).symbols;
const id = Number(uid);
// <sys/prctl.h>: a process that has changed its user may not look at itself,
// unlike one that was that user's from the start.
const PR_SET_DUMPABLE = 4;
if (
  libc.setgroups(0n, null) !== 0 || libc.setresgid(id, id, id) !== 0 ||
  libc.setresuid(id, id, id) !== 0 || libc.prctl(PR_SET_DUMPABLE, 1n) !== 0
) {
  throw new Error(`cannot become user ${uid}`);
}
Deno.exit(await main(args));
