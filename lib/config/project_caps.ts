/**
 * Caps that the system keeps for its projects, beside those of the configuration.
 *
 * @module
 */

import type { Selector } from "../collection/selectors.ts";
import type { ProjectCap } from "../platform/platform.ts";
import type { CapConfig } from "./config.ts";

/** Caps of both kinds. */
export interface CapsBeside {
  /** Those of the configuration first: a process in several belongs to the first. */
  readonly caps: readonly CapConfig[];
  /** Which caps of projects do not count, and why, for a person. */
  readonly messages: readonly string[];
}

/**
 * Puts the caps of projects beside those of the configuration. A cap of the
 * configuration that has the name of a project, or selects it, wins.
 *
 * @param path where the projects are, for messages.
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
