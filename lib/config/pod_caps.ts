/**
 * The caps that pods of Kubernetes ask for by their annotations.
 *
 * Whoever may write a pod writes them, so what is wrong with one concerns this pod only.
 *
 * @module
 */

import { parseSelector } from "../collection/selectors.ts";
import { UsageError } from "../errors.ts";
import {
  type AnnotatedPod,
  keyOf,
  PREFIX,
} from "../kubernetes/annotated_pod.ts";
import { LONGEST_VALUE } from "../kubernetes/protocol.ts";
import { escapeLine } from "../report/escape.ts";
import { parseCapSize } from "./cap_size.ts";
import type { CapConfig } from "./config.ts";
import { didYouMean } from "./did_you_mean.ts";
import { parseIdle } from "./guard_values.ts";

/** The annotations, without their prefix. */
const KEYS = ["max-rss", "idle"] as const;
type Key = typeof KEYS[number];

/** The caps of pods. */
export interface PodCaps {
  readonly caps: readonly CapConfig[];
  /** What is wrong with annotations, one line each. */
  readonly problems: readonly string[];
}

/**
 * Returns the caps of pods. A pod with a wrong annotation has none: half of what was
 * written may be the opposite of what was meant.
 *
 * @param totalMemory of the machine, in bytes; percentages are of it.
 */
export function podCaps(
  pods: readonly AnnotatedPod[],
  totalMemory: number,
): PodCaps {
  const caps: CapConfig[] = [];
  const problems: string[] = [];
  for (const pod of pods) {
    try {
      caps.push(capOf(pod, totalMemory));
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      problems.push(
        escapeLine(
          `pod ${keyOf(pod)} has no cap by its annotations: ${error.message}`,
        ),
      );
    }
  }
  return { caps, problems };
}

/** @throws UsageError if an annotation is not valid. */
function capOf(pod: AnnotatedPod, totalMemory: number): CapConfig {
  const values = new Map<Key, string>();
  for (const [name, value] of pod.annotations) {
    const key = KEYS.find((key) => key === name);
    if (key === undefined) throw unknownAnnotation(name);
    if (value.length > LONGEST_VALUE) {
      throw new UsageError(
        `${PREFIX}${key} has more than ${LONGEST_VALUE} characters`,
        "shorten it",
      );
    }
    values.set(key, value);
  }
  const maxRss = values.get("max-rss");
  const idle = values.get("idle");
  // The first annotation of a cap tells where it is from.
  const [first] = values.keys();
  return {
    name: `pod:${keyOf(pod)}`,
    select: [parseSelector(`pod:${keyOf(pod)}`)],
    ...maxRss !== undefined && {
      maxRss: parseCapSize(maxRss, {
        what: `${PREFIX}max-rss`,
        totalMemory: () => totalMemory,
      }),
    },
    ...idle !== undefined && { idle: idleOf(idle) },
    place: `pod ${keyOf(pod)}, ${PREFIX}${first}`,
    isOfPod: true,
  };
}

function idleOf(value: string): number | "auto" {
  return parseIdle(value, { key: `${PREFIX}idle` });
}

function unknownAnnotation(name: string): UsageError {
  // It compares words with `_` only.
  const guess = didYouMean(name, KEYS.map((key) => key.replaceAll("-", "_")))
    ?.replaceAll("_", "-");
  return new UsageError(
    `unknown annotation ${PREFIX}${name.slice(0, LONGEST_VALUE)}`,
    guess === undefined
      ? `the annotations are ${KEYS.map((key) => PREFIX + key).join(" and ")}`
      : `did you mean ${PREFIX}${guess}?`,
  );
}
