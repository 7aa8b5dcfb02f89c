/**
 * Merges the caps that the system keeps for its projects with those of the
 * configuration.
 *
 * @module
 */

import type { Selector } from "../collection/selectors.ts";
import type { ProjectCap } from "../platform/platform.ts";
import type { CapConfig } from "./config.ts";

/** The caps of both kinds. */
export interface CapsBeside {
  /** Those of the configuration first: a process in several groups belongs to the first. */
  readonly caps: readonly CapConfig[];
  /** Messages for people about caps of projects that do not count. */
  readonly messages: readonly string[];
}

/**
 * Adds the caps of projects to those of the configuration. A cap of the
 * configuration wins if it has the name of a project or selects it.
 *
 * @param path the file of the projects, for messages.
 */
export function besideProjectCaps(
  configured: readonly CapConfig[],
  { projects, path }: { projects: readonly ProjectCap[]; path: string },
): CapsBeside {
  const caps = [...configured];
  const messages: string[] = [];
  for (const { name, id, maxRss } of projects) {
    const selector: Selector = { kind: "project", id, text: `project:${name}` };
    const winner = configured.find((cap) =>
      cap.name === name ||
      cap.select.some((other) => other.kind === "project" && other.id === id)
    );
    if (winner) {
      messages.push(
        `the cap of project "${name}" in ${path} does not count: cap "${winner.name}" at ${winner.place} wins`,
      );
    } else {
      caps.push({ name, select: [selector], maxRss, place: path });
    }
  }
  return { caps, messages };
}
