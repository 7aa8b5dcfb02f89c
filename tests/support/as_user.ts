/**
 * Runs rcap from source as an unprivileged user: `as_user.ts UID ARG…`.
 *
 * That user may not be able to read Deno and the sources, so the user is changed
 * after everything has been loaded.
 *
 * @module
 */

import { COMMANDS } from "../../cmd/commands.ts";
import "../../cmd/program.ts";
import "../../lib/platform/open.ts";
import { main } from "../../main.ts";

for (const { load } of COMMANDS) await load();
const [uid, ...args] = Deno.args;
const libc = Deno.dlopen("libc.so.6", {
  prctl: { parameters: ["i32", "u64"], result: "i32" },
  setgroups: { parameters: ["usize", "pointer"], result: "i32" },
  setresgid: { parameters: ["u32", "u32", "u32"], result: "i32" },
  setresuid: { parameters: ["u32", "u32", "u32"], result: "i32" },
}).symbols;
const id = Number(uid);
// <sys/prctl.h>: a process that has changed its user cannot read its own /proc
// files, unlike one that belonged to that user from the start.
const PR_SET_DUMPABLE = 4;
if (
  libc.setgroups(0n, null) !== 0 || libc.setresgid(id, id, id) !== 0 ||
  libc.setresuid(id, id, id) !== 0 || libc.prctl(PR_SET_DUMPABLE, 1n) !== 0
) {
  throw new Error(`cannot become user ${uid}`);
}
Deno.exit(await main(args));
