/**
 * Finds the programs of groups whose idle time finds itself, which is found anew for a
 * program that has changed.
 *
 * @module
 */

import { isExhausted, NotKnown, ProcessError } from "../errors.ts";
import type { CappedGroup } from "../group/capped_group.ts";
import { KnownPrograms, type LearntGroup } from "../group/learnt_group.ts";
import type { Program } from "../group/learnt_group.ts";
import type { Member } from "../group/member.ts";
import type { Log } from "../platform/output.ts";
import type { Platform } from "../platform/platform.ts";
import { escapeLine } from "../report/escape.ts";

/** How many members are looked at in a pass; the others follow in the next. */
const MOST_AT_A_TIME = 64;

/** The programs of one group. */
export class GroupPrograms {
  readonly #known: KnownPrograms;
  readonly #seen = new WeakSet<Member>();

  /** @param learnt what an earlier daemon has learnt of the group. */
  constructor(learnt: LearntGroup | undefined) {
    this.#known = new KnownPrograms(learnt?.programs);
  }

  get all(): Program[] {
    return this.#known.all;
  }

  /** Looks at members that are new, and has their idle time found anew if need be. */
  async look(
    { name, processes, idleTime }: CappedGroup,
    { platform, log }: { platform: Platform; log: Log },
  ): Promise<void> {
    const found: Program[] = [];
    const news = processes.filter((member) => !this.#seen.has(member));
    for (const member of news.slice(0, MOST_AT_A_TIME)) {
      try {
        const program = await platform.programOf?.(member.entry);
        this.#seen.add(member);
        if (program) found.push(program);
      } catch (error) {
        // It is looked at again.
        const isPassing = error instanceof NotKnown ||
          error instanceof ProcessError || isExhausted(error);
        if (!isPassing) throw error;
      }
    }
    const changed = this.#known.note(found);
    if (changed === undefined || !idleTime?.learnt) return;
    idleTime.forget();
    log.info(
      `${name}: the idle time is found anew, since ${
        escapeLine(changed)
      } is another program`,
    );
  }
}
