/**
 * What the API server of Kubernetes answers when it is asked for the metadata of pods: a
 * list, or the events of a watch, a line of JSON each.
 *
 * Sources: https://kubernetes.io/docs/reference/using-api/api-concepts/ (efficient
 * detection of changes, watch bookmarks, retrieving large result sets in chunks,
 * metadata-only fetches), and the types `WatchEvent`, `Status`, `PartialObjectMetadata`
 * and `PartialObjectMetadataList` of k8s.io/apimachinery/pkg/apis/meta/v1/types.go.
 *
 * Users of the cluster choose the names and annotations of pods, so everything is checked,
 * and little is kept.
 *
 * @module
 */

import * as v from "valibot";
import { RcapError } from "../errors.ts";
import { type AnnotatedPod, PREFIX } from "./annotated_pod.ts";

/** Asks for metadata only, or else for all of the objects: both have what is read here. */
export const ACCEPT = {
  list:
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
  watch:
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
} as const;

/** The most annotations of a pod that are kept, and the most characters of each. */
const MOST_ANNOTATIONS = 8;
export const LONGEST_VALUE = 64;

/**
 * `IsDNS1123Label` and `IsDNS1123Subdomain` of
 * k8s.io/apimachinery/pkg/util/validation/validation.go. Only the former limits a label to
 * 63 characters.
 */
const NAMESPACE = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;
const NAME = /^(?=.{1,253}$)[a-z0-9]+(?:(?:-+|\.)[a-z0-9]+)*$/;

const version = v.pipe(v.string(), v.maxLength(256));

const METADATA = v.object({
  name: v.pipe(v.string(), v.regex(NAME)),
  namespace: v.pipe(v.string(), v.regex(NAMESPACE)),
  resourceVersion: version,
  annotations: v.nullish(v.record(v.string(), v.string()), {}),
});

const POD = v.object({ metadata: METADATA });

/** A list, one page of it. `items` is null in an empty list of some servers. */
const LIST = v.object({
  metadata: v.object({
    resourceVersion: version,
    continue: v.optional(v.pipe(v.string(), v.maxLength(8192)), ""),
  }),
  items: v.nullish(v.array(v.unknown()), []),
});

const EVENT = v.variant("type", [
  v.object({
    type: v.picklist(["ADDED", "MODIFIED", "DELETED"]),
    object: v.looseObject({
      metadata: v.looseObject({ resourceVersion: version }),
    }),
  }),
  v.object({
    type: v.literal("BOOKMARK"),
    object: v.object({ metadata: v.object({ resourceVersion: version }) }),
  }),
  v.object({
    type: v.literal("ERROR"),
    object: v.object({
      code: v.optional(v.number(), 0),
      reason: v.optional(v.string(), ""),
      message: v.optional(v.string(), ""),
    }),
  }),
]);

/** A page of the list of pods. */
export interface PodPage {
  readonly pods: readonly AnnotatedPod[];
  /** Where a watch goes on from this list. */
  readonly resourceVersion: string;
  /** What to ask the next page with; empty if this is the last one. */
  readonly continue: string;
  /** How many pods it had, with those that have no annotation of rcap. */
  readonly size: number;
}

/** An event of a watch. */
export type PodEvent =
  | {
    readonly type: "ADDED" | "MODIFIED" | "DELETED";
    readonly pod: AnnotatedPod;
    readonly resourceVersion: string;
  }
  | { readonly type: "BOOKMARK"; readonly resourceVersion: string }
  | { readonly type: "ERROR"; readonly code: number; readonly message: string };

/** The API server answered something else than was expected. */
export class MalformedAnswer extends RcapError {
  override name = "MalformedAnswer";
}

/**
 * Parses a page of a list. Pods that are not what pods are, are left out.
 *
 * @throws MalformedAnswer if it is not a list.
 */
export function parsePage(text: string): PodPage {
  const { metadata, items } = parsed(LIST, text);
  const pods = (items ?? []).flatMap((item) => {
    const { success, output } = v.safeParse(POD, item, { abortEarly: true });
    return success ? [podOf(output.metadata)] : [];
  });
  return { pods, ...metadata, size: items?.length ?? 0 };
}

/**
 * Parses a line of a watch. An event about what is not what pods are says only where the
 * watch is: one pod must not end it for the others.
 *
 * @throws MalformedAnswer if it is not an event.
 */
export function parseEvent(line: string): PodEvent {
  const { type, object } = parsed(EVENT, line);
  switch (type) {
    case "BOOKMARK":
      return { type, resourceVersion: object.metadata.resourceVersion };
    case "ERROR":
      return {
        type,
        code: object.code,
        message: (object.message || object.reason).slice(0, 200),
      };
    default: {
      const { resourceVersion } = object.metadata;
      const { success, output } = v.safeParse(POD, object, {
        abortEarly: true,
      });
      return success
        ? { type, pod: podOf(output.metadata), resourceVersion }
        : { type: "BOOKMARK", resourceVersion };
    }
  }
}

function parsed<S extends v.GenericSchema>(
  schema: S,
  text: string,
): v.InferOutput<S> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    // A RangeError: it is nested too deeply.
    if (!(error instanceof SyntaxError || error instanceof RangeError)) {
      throw error;
    }
    throw new MalformedAnswer("its answer is not JSON");
  }
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const path = result.issues[0].path?.map(({ key }) => key).join(".") ?? "";
  throw new MalformedAnswer(
    `its answer is not about pods: ${path.slice(0, 60) || "it"} is ${
      result.issues[0].received.slice(0, 60)
    }`,
  );
}

function podOf(
  { namespace, name, annotations }: v.InferOutput<typeof METADATA>,
): AnnotatedPod {
  const own = Object.entries(annotations ?? {})
    .filter(([key]) => key.startsWith(PREFIX)).sort()
    .slice(0, MOST_ANNOTATIONS)
    .map(([key, value]): [string, string] => [
      cut(key.slice(PREFIX.length)),
      cut(value),
    ]);
  return { namespace, name, annotations: new Map(own) };
}

/**
 * Cuts a text one character beyond the limit, so that it is seen to be too long.
 *
 * A part of a string that V8 slices keeps all of it in memory, and users may write 256 KiB
 * of annotations. So this is a copy.
 */
function cut(text: string): string {
  return text.slice(0, LONGEST_VALUE + 1).split("").join("");
}
