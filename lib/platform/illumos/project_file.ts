/**
 * `/etc/project` of illumos: the projects of the machine, and their caps, which are
 * the attribute `rcap.max-rss`. The format is described in project(5).
 *
 * @module
 */

import { isMissing, SystemError } from "../../errors.ts";
import type { IllumosLibc } from "../../../ffi/illumos_libc.ts";
import type { ProjectCap, ProjectCaps, ProjectCapSource } from "../platform.ts";

/** A project. */
export interface Project {
  readonly name: string;
  readonly id: number;
  /** Its cap, in bytes; `undefined` if it has none. */
  readonly maxRss: number | undefined;
}

/** The contents of the file, and its problems, one line each. */
export interface Projects {
  readonly projects: readonly Project[];
  readonly problems: readonly string[];
}

/** The attribute that holds a cap. */
const ATTRIBUTE = "rcap.max-rss";

/** The largest project id: `MAXPROJID` of <sys/param.h>. */
const LARGEST_ID = 2 ** 31 - 1;

/**
 * Parses the file. Leaves out invalid lines and reports them.
 *
 * @param path the file, for messages.
 */
export function parseProjects(text: string, path: string): Projects {
  const projects: Project[] = [];
  const problems: string[] = [];
  const taken = new Map<string | number, number>();
  for (const [index, line] of text.split("\n").entries()) {
    const number = index + 1;
    const problem = (message: string) =>
      problems.push(`${path}:${number}: ${message}`);
    if (line.trim() === "" || line.startsWith("#")) continue;
    const fields = line.split(":");
    if (fields.length !== 6) {
      problem(
        `a project has six fields separated by colons (name:id:comment:users:groups:attributes), but this line has ${fields.length}`,
      );
      continue;
    }
    const [name, idText, , , , attributes] = fields;
    const id = wholeNumber(idText);
    if (!/^[A-Za-z][\w.-]*$/.test(name)) {
      problem(`"${name}" is not a valid project name`);
      continue;
    }
    if (id === undefined || id > LARGEST_ID) {
      problem(
        `"${idText}" is not a valid project id; ids are whole numbers up to ${LARGEST_ID}`,
      );
      continue;
    }
    const before = taken.get(name) ?? taken.get(id);
    if (before !== undefined) {
      problem(`line ${before} already defines a project with this name or id`);
      continue;
    }
    taken.set(name, number).set(id, number);
    const values = attributes.split(";").map((attribute) => attribute.trim())
      .filter((attribute) =>
        attribute === ATTRIBUTE || attribute.startsWith(`${ATTRIBUTE}=`)
      ).map((attribute) => attribute.slice(ATTRIBUTE.length + 1));
    const maxRss = values.length === 1 ? wholeNumber(values[0]) : undefined;
    if (values.length > 1) {
      problem(`project "${name}" has ${ATTRIBUTE} more than once`);
    } else if (values.length === 1 && (maxRss === undefined || maxRss === 0)) {
      problem(
        `project "${name}": ${ATTRIBUTE}=${
          values[0]
        } is not a valid cap; write a whole number of bytes`,
      );
    }
    projects.push({ name, id, maxRss: maxRss === 0 ? undefined : maxRss });
  }
  return { projects, problems };
}

/** Parses a decimal whole number; `undefined` if it is not one, or cannot be represented exactly. */
function wholeNumber(text: string): number | undefined {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  return Number.isSafeInteger(value) ? value : undefined;
}

/** The file, which is read for every query. */
export class ProjectFile implements ProjectCapSource {
  readonly path: string;
  readonly #libc: Pick<IllumosLibc, "open" | "read" | "close">;
  #text: string | undefined;

  constructor(
    path: string,
    libc: Pick<IllumosLibc, "open" | "read" | "close">,
  ) {
    this.path = path;
    this.#libc = libc;
  }

  /** The id of a project by name; `undefined` if the file has no such project. */
  idOf(name: string): number | undefined {
    const { projects } = parseProjects(this.#read().text, this.path);
    return projects.find((project) => project.name === name)?.id;
  }

  /**
   * The caps of projects; `undefined` if the file has not changed since the last call.
   * A missing file has no caps. A file that cannot be read is reported as a problem,
   * with no change to the caps.
   */
  changedCaps(): ProjectCaps | undefined {
    const { text, problem } = this.#read();
    if (problem !== undefined) {
      if (this.#text === problem) return undefined;
      this.#text = problem;
      return { caps: undefined, problems: [problem] };
    }
    if (this.#text === text) return undefined;
    this.#text = text;
    const { projects, problems } = parseProjects(text, this.path);
    const caps = projects.flatMap(({ name, id, maxRss }): ProjectCap[] =>
      maxRss === undefined ? [] : [{ name, id, maxRss }]
    );
    return { caps, problems };
  }

  #read(): { text: string; problem?: string } {
    try {
      const fd = this.#libc.open(this.path);
      try {
        return { text: new TextDecoder().decode(this.#readAll(fd)) };
      } finally {
        this.#libc.close(fd);
      }
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      if (isMissing(error)) return { text: "" };
      return {
        text: "",
        problem: `${this.path} cannot be read: ${error.message}`,
      };
    }
  }

  #readAll(fd: number): Uint8Array<ArrayBuffer> {
    let buffer = new Uint8Array(64 * 1024);
    for (let length = 0;;) {
      const more = this.#libc.read(fd, buffer.subarray(length));
      length += more;
      if (more === 0) return buffer.subarray(0, length);
      if (length < buffer.length) continue;
      const larger = new Uint8Array(buffer.length * 2);
      larger.set(buffer);
      buffer = larger;
    }
  }
}
