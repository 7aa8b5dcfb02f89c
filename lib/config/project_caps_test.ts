/**
 * Tests of merging caps of projects with those of the configuration.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import type { Selector } from "../collection/selectors.ts";
import type { CapConfig } from "./config.ts";
import { besideProjectCaps } from "./project_caps.ts";

const PATH = "/etc/project";
const WEB = { name: "web", id: 100, maxRss: 4096 };
const DB = { name: "db", id: 101, maxRss: 8192 };

function cap(name: string, select: Selector): CapConfig {
  return { name, select: [select], maxRss: 1, place: "/etc/rcap.toml:3" };
}

function byProject(name: string, id: number): Selector {
  return { kind: "project", id, text: `project:${name}` };
}

Deno.test("caps of projects come after those of the configuration", () => {
  const configured = [cap("shells", { kind: "pid", pid: 1, text: "1" })];
  const beside = besideProjectCaps(configured, {
    projects: [WEB, DB],
    path: PATH,
  });
  assertEquals(beside, {
    caps: [
      ...configured,
      {
        name: "web",
        select: [byProject("web", 100)],
        maxRss: 4096,
        place: PATH,
      },
      { name: "db", select: [byProject("db", 101)], maxRss: 8192, place: PATH },
    ],
    messages: [],
  });
});

Deno.test("the configuration wins by name or by selector, with a message", () => {
  const configured = [
    cap("web", { kind: "pid", pid: 1, text: "1" }),
    cap("database", byProject("101", 101)),
  ];
  const beside = besideProjectCaps(configured, {
    projects: [WEB, DB],
    path: PATH,
  });
  assertEquals(beside, {
    caps: configured,
    messages: [
      `the cap of project "web" in ${PATH} does not count: cap "web" at /etc/rcap.toml:3 wins`,
      `the cap of project "db" in ${PATH} does not count: cap "database" at /etc/rcap.toml:3 wins`,
    ],
  });
});
