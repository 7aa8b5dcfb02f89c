/**
 * Containers and pods in selectors: what is written, and what names one.
 *
 * @module
 */

import { UsageError } from "../errors.ts";
import type { Container } from "../platform/platform.ts";
import { type Glob, MalformedGlob, parseGlob } from "./glob.ts";

/** Whether a container is one that was written. */
export type ContainerTest = (container: Container) => boolean;

/** How much of an id names a container: what `docker ps` and `podman ps` show. */
const ID_LENGTH = 12;
const ID = /^[0-9a-f]{12,64}$/;

/** A container of a user's own engine. */
const OWN = /^user@(\d{1,10})\/(.*)$/s;

/**
 * Parses `NAME` or `ID`, a container of an engine of the machine, or `user@UID/NAME`, one
 * of a user's own engine. A name may be a glob, an id may be cut to 12 digits.
 *
 * @param selector the whole selector, for messages.
 * @throws UsageError if it names no container.
 */
export function parseContainer(value: string, selector: string): ContainerTest {
  const [, user, own] = OWN.exec(value) ?? [];
  const written = own ?? value;
  if (written === "" || written.includes("/")) {
    throw new UsageError(
      `selector "${selector}": "${value}" is not a container`,
      "name one by name or id, as in container:web, or one of a user's own engine by uid, as in container:user@1000/web",
    );
  }
  const matches = nameTest(written, selector);
  const uid = user === undefined ? undefined : Number(user);
  const isId = ID.test(written);
  return (container) =>
    container.uid === uid &&
    (container.name !== undefined && matches(container.name) ||
      isId && container.id !== undefined && container.id.startsWith(written));
}

/**
 * Parses `NAMESPACE/NAME`, a pod, or `NAMESPACE/NAME/CONTAINER`, one of its containers.
 * Each may be a glob.
 *
 * @param selector the whole selector, for messages.
 * @throws UsageError if it names no pod.
 */
export function parsePod(value: string, selector: string): ContainerTest {
  const names = value.split("/");
  if (names.length < 2 || names.length > 3 || names.includes("")) {
    throw new UsageError(
      `selector "${selector}": "${value}" is not a pod`,
      "name one by namespace and name, as in pod:default/web-0, or one of its containers, as in pod:default/web-0/nginx; each may be a glob",
    );
  }
  const [namespace, name, container] = names.map((one) =>
    nameTest(one, selector)
  );
  return ({ pod }) =>
    pod !== undefined && namespace(pod.namespace) && name(pod.name) &&
    (container === undefined ||
      pod.container !== undefined && container(pod.container));
}

function nameTest(name: string, selector: string): Glob {
  try {
    return parseGlob(name);
  } catch (error) {
    if (!(error instanceof MalformedGlob)) throw error;
    throw new UsageError(
      `selector "${selector}": malformed glob "${name}" (${error.message})`,
      "names have neither brackets nor backslashes",
    );
  }
}

/**
 * Returns the selector of a container: `pod:NAMESPACE/NAME/CONTAINER` in a pod, else
 * `container:NAME`, or by its id if it has no name. `undefined` if it is none.
 */
export function containerSelector(container: Container): string | undefined {
  const { pod } = container;
  if (pod?.container !== undefined) {
    return `pod:${pod.namespace}/${pod.name}/${pod.container}`;
  }
  const name = nameOf(container);
  return name && `container:${name}`;
}

/**
 * Returns what a container is called outside of pods: its name, or else its id, behind
 * its user. `undefined` if neither is known.
 */
export function nameOf({ id, name, uid }: Container): string | undefined {
  const which = name ?? id?.slice(0, ID_LENGTH);
  if (which === undefined || uid === undefined) return which;
  return `user@${uid}/${which}`;
}

/** Returns the selector of the pod of a container; `undefined` if it is in none that is known. */
export function podSelector({ pod }: Container): string | undefined {
  return pod && `pod:${pod.namespace}/${pod.name}`;
}
