/**
 * `/etc/project` of illumos: the projects of the machine, and the caps that stand
 * there as the attribute `rcap.max-rss`. The format is described in project(5).
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
  /** Its cap, in bytes. */
  readonly maxRss: number | undefined;
}

/** What the file says, and what is wrong with it, a line each. */
export interface Projects {
  readonly projects: readonly Project[];
  readonly problems: readonly string[];
}

/** The attribute that holds a cap. */
const ATTRIBUTE = "rcap.max-rss";

/** The largest id: `MAXPROJID` of <sys/param.h>. */
const LARGEST_ID = 2 ** 31 - 1;

/**
 * Parses the file. A line that is not as it should be is left out and told of.
 *
 * @param path for what is told.
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
        `a project has six fields with a colon between two of them (name:id:comment:users:groups:attributes), and this line has ${fields.length}`,
      );
      continue;
    }
    const [name, idText, , , , attributes] = fields;
    const id = wholeNumber(idText);
    if (!/^[A-Za-z][\w.-]*$/.test(name)) {
      problem(`"${name}" is no name of a project`);
      continue;
    }
    if (id === undefined || id > LARGEST_ID) {
      problem(
        `"${idText}" is no id of a project; those are whole numbers up to ${LARGEST_ID}`,
      );
      continue;
    }
    const before = taken.get(name) ?? taken.get(id);
    if (before !== undefined) {
      problem(`the name or the id of this project is taken, by line ${before}`);
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
        } is no cap; write a whole number of bytes`,
      );
    }
    projects.push({ name, id, maxRss: maxRss === 0 ? undefined : maxRss });
  }
  return { projects, problems };
}

/** A whole number in decimal, `undefined` when it is none or not exact. */
function wholeNumber(text: string): number | undefined {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  return Number.isSafeInteger(value) ? value : undefined;
}

/** The file, read when it is asked. */
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

  /** The id of a project by name; `undefined` when the file has none of that name. */
  idOf(name: string): number | undefined {
    const { projects } = parseProjects(this.#read().text, this.path);
    return projects.find((project) => project.name === name)?.id;
  }

  /**
   * The caps of projects; `undefined` when the file is as it was when this was last
   * asked. A file that is not there has none; one that cannot be read is told of,
   * and changes nothing.
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
