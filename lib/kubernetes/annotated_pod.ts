/**
 * Pods whose annotations ask for a cap, as the API server describes them.
 *
 * @module
 */

/** What the annotations of rcap begin with. */
export const PREFIX = "rcap.dev/";

/** A pod with annotations of rcap. */
export interface AnnotatedPod {
  readonly namespace: string;
  readonly name: string;
  /** The annotations that begin with {@linkcode PREFIX}, by the rest of their names. */
  readonly annotations: ReadonlyMap<string, string>;
}

/** What the watch of the pods of a node reports of itself. */
export interface WatchState {
  readonly node: string;
  /** The pods whose annotations are known. */
  readonly pods: number;
  /** Whether the API server reports changes at the moment. */
  readonly isWatching: boolean;
  /** When the API server last answered, in seconds since the epoch; null before that. */
  readonly heardAt: number | null;
  /** Why there is no watch, in words for users; null while there is one. */
  readonly problem: string | null;
}

/** What the daemon reports of the caps of pods. */
export interface KubernetesState extends WatchState {
  /** What is wrong with annotations, one line each, the first of too many. */
  readonly annotations: readonly string[];
}

/** Returns the name of a pod that no other pod has at the same time. */
export function keyOf(
  { namespace, name }: Pick<AnnotatedPod, "namespace" | "name">,
): string {
  return `${namespace}/${name}`;
}
