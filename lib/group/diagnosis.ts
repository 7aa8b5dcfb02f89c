/**
 * Explains why a cap cannot be met.
 *
 * @module
 */

import { whatStays } from "../collection/what_stays.ts";
import { NoSuchProcess, ProcessError } from "../errors.ts";
import { describeSkipReason } from "../report/skip_reasons.ts";
import { formatBeside, formatSize } from "../report/units.ts";
import type { CappedGroup } from "./capped_group.ts";
import type { Member } from "./member.ts";

/** Memory that does not go, and why. */
interface Cause {
  /** In bytes, in the measure of the group's size. */
  bytes: number;
  /** The reason in words, which follow the size: `locked in memory`. */
  readonly words: string;
}

/** A group as far as the diagnosis needs it. */
export type DiagnosedGroup = Pick<
  CappedGroup,
  "name" | "cap" | "size" | "accounting" | "members"
>;

/** What the policy in charge of the group has seen. */
export interface Seen {
  /** How much was in use when references were last judged, in bytes; `null` if not known. */
  readonly inUse: number | null;
  /** Whether references are known for every page, or only for every mapping. */
  readonly granularity: "page" | "mapping";
}

/** Of the excess, a cause that explains a smaller share is not worth a word. */
const LEAST_SHARE = 1 / 4;

/**
 * Finds out why the cap of a group cannot be met. Walks the page tables of all members.
 *
 * It names what cannot go, and what is in use if the policy has seen that. If both
 * together fit under the cap, it says that the cause is not known.
 *
 * @returns a sentence for users.
 */
export async function whyNotMet(
  group: DiagnosedGroup,
  seen: Seen,
): Promise<string> {
  const { name, cap, size } = group;
  const causes = await causesOf(group);
  const { inUse, granularity } = seen;
  const isWorkingSet = granularity === "page" && inUse !== null && inUse > cap;
  if (inUse !== null && !isWorkingSet) {
    const words = granularity === "page"
      ? "in use"
      : "in mappings of which some memory is in use";
    causes.push({ bytes: inUse, words });
  }
  const explained = causes.reduce((sum, { bytes }) => sum + bytes, 0);
  const why = causes.filter(({ bytes }) =>
    bytes > 0 && bytes >= (size - cap) * LEAST_SHARE
  ).sort((a, b) => b.bytes - a.bytes).map(({ bytes, words }) =>
    `${formatSize(Math.min(bytes, size))} ${words}`
  );
  if (isWorkingSet) why.unshift("its working set is larger than the cap");
  else if (why.length === 0) why.push("the cause is not known");
  else if (explained < cap) why.push("why the rest stays is not known");
  const format = formatBeside(cap, size);
  return `${name}: ${format(size)} cannot be brought under the cap of ${
    format(cap)
  }: ${why.join("; ")}`;
}

/** What does not go of the members, one cause for each reason. */
async function causesOf(group: DiagnosedGroup): Promise<Cause[]> {
  const causes = new Map<string, Cause>();
  const unread: { member: Member; error: ProcessError }[] = [];
  for (const member of group.members) {
    try {
      const mappings = await member.memory.readMappings("scan");
      for (const staying of whatStays(member.memory, mappings)) {
        const { reason, limit } = staying;
        if (reason === null) continue;
        const words = describeSkipReason(reason, limit);
        const bytes = group.accounting === "pss"
          ? staying.proportional
          : staying.rss;
        const cause = causes.get(words);
        if (cause) cause.bytes += bytes;
        else causes.set(words, { bytes, words });
      }
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
      if (!(error instanceof NoSuchProcess)) unread.push({ member, error });
    }
  }
  const all = [...causes.values()];
  if (unread.length > 0) all.push(causeOfUnread(unread, group));
  return all;
}

/** What members have that cannot be read, of which nothing is known to be pageable. */
function causeOfUnread(
  unread: readonly { member: Member; error: ProcessError }[],
  { accounting }: DiagnosedGroup,
): Cause {
  const bytes = unread.reduce(
    (sum, { member }) =>
      sum +
      (accounting === "pss" ? member.proportional : member.entry.rss),
    0,
  );
  const [{ error }] = unread;
  const others = unread.length - 1;
  const words = others === 0
    ? `in a process that cannot be read (${error.message})`
    : `in ${unread.length} processes that cannot be read (for example: ${error.message})`;
  return { bytes, words };
}
