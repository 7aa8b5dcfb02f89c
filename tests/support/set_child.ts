/**
 * A process for the tests of state directories: `set_child.ts DIRECTORY NAME` sets
 * and removes an override repeatedly until it is killed.
 *
 * @module
 */

import { linux } from "../../lib/platform/linux/system.ts";
import { OVERRIDES } from "../../lib/service/numbers_by_name.ts";
import { writeByHand } from "../../lib/service/state_directory.ts";
import { say } from "./say.ts";

if (import.meta.main) {
  const [directory, name] = Deno.args;
  for (let i = 1;; i++) {
    writeByHand(linux, directory, OVERRIDES, {
      name,
      value: i % 3 === 0 ? undefined : 4096 * i,
    });
    if (i === 10) say("sets");
  }
}
