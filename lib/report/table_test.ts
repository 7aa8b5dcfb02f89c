/**
 * Tests of tables.
 *
 * @module
 */

import { assertEquals, assertThrows } from "@std/assert";
import { stripAnsiCode } from "@std/fmt/colors";
import { UsageError } from "../errors.ts";
import { chooseColumns, type Column, renderTable } from "./table.ts";

interface Row {
  readonly name: string;
  readonly size: number | null;
  readonly count: number;
}

const COLUMNS: readonly Column<Row>[] = [
  {
    name: "name",
    kind: "text",
    value: ({ name }) => name,
    style: (text, { count }) => count > 9 ? `\x1b[31m${text}\x1b[39m` : text,
  },
  { name: "size", kind: "size", value: ({ size }) => size },
  { name: "count", kind: "number", value: ({ count }) => count },
];

const ROWS: readonly Row[] = [
  { name: "a", size: 1536, count: 7 },
  { name: "longer name", size: 1000, count: 123456 },
  { name: "日本", size: null, count: 0 },
];

const HUMAN = { rows: ROWS, bare: false, exact: false, color: false };
const BARE = { ...HUMAN, bare: true };

Deno.test("text is aligned left, numbers are aligned right, under a header", () => {
  assertEquals(
    renderTable(COLUMNS, HUMAN),
    `NAME         SIZE   COUNT
a            1.5K       7
longer name  1000  123456
日本            -       0
`,
  );
});

Deno.test("a column may write its sizes in its own way, unless they are exact", () => {
  const columns: Column<Row>[] = [{
    ...COLUMNS[1],
    format: ({ count }) => (bytes) => `${bytes / 1024}K:${count}`,
  }];
  const rows = ROWS.slice(0, 1);
  assertEquals(renderTable(columns, { ...BARE, rows }), "1.5K:7\n");
  assertEquals(renderTable(columns, { ...BARE, rows, exact: true }), "1536\n");
});

Deno.test("totals follow after an empty line", () => {
  const totals = [{ name: "total", size: 2536, count: 123463 }];
  assertEquals(
    renderTable(COLUMNS, { ...HUMAN, rows: ROWS.slice(0, 1), totals }),
    `NAME   SIZE   COUNT
a      1.5K       7

total  2.5K  123463
`,
  );
});

Deno.test("exact sizes are in bytes", () => {
  assertEquals(
    renderTable(COLUMNS, { ...HUMAN, rows: ROWS.slice(0, 1), exact: true }),
    `NAME  SIZE  COUNT
a     1536      7
`,
  );
});

Deno.test("scripts get tabs, no header, no totals, and a hyphen for nothing", () => {
  const totals = [{ name: "total", size: 1, count: 1 }];
  assertEquals(
    renderTable(COLUMNS, { ...BARE, totals, exact: true, color: true }),
    "a\t1536\t7\nlonger name\t1000\t123456\n日本\t-\t0\n",
  );
});

Deno.test("a row stays one line and a field has no tab, whatever a name contains", () => {
  const rows = [{ name: "a\tb\nc (deleted)", size: 1, count: 1 }];
  assertEquals(
    renderTable(COLUMNS, { ...BARE, rows }),
    "a\\tb\\nc (deleted)\t1\t1\n",
  );
  assertEquals(
    renderTable(COLUMNS, { ...HUMAN, rows }).split("\n")[1],
    "a\\tb\\nc (deleted)     1      1",
  );
});

Deno.test("colours do not affect alignment", () => {
  const colored = renderTable(COLUMNS, { ...HUMAN, color: true });
  assertEquals(colored.split("\x1b[31m").length, 2);
  assertEquals(stripAnsiCode(colored), renderTable(COLUMNS, HUMAN));
});

Deno.test("a table without rows is a header, or nothing for scripts", () => {
  assertEquals(
    renderTable(COLUMNS, { ...HUMAN, rows: [] }),
    "NAME  SIZE  COUNT\n",
  );
  assertEquals(renderTable(COLUMNS, { ...BARE, rows: [] }), "");
});

Deno.test("columns are chosen by name, in any order", () => {
  const names = (list?: string) =>
    chooseColumns(COLUMNS, list).map(({ name }) => name);
  assertEquals(names(), ["name", "size", "count"]);
  assertEquals(names("count,name"), ["count", "name"]);
  assertEquals(names(" size , SIZE "), ["size", "size"]);
});

Deno.test("an unknown field is refused, and the error names the fields", () => {
  for (
    const [list, wrong] of [
      ["name,weight", "weight"],
      ["", ""],
      ["name,", ""],
    ]
  ) {
    const error = assertThrows(() => chooseColumns(COLUMNS, list), UsageError);
    assertEquals(
      error.message,
      `-o: there is no field "${wrong}"; the fields are name, size, count`,
    );
  }
});

Deno.test("where lines may not be wider, the widest text is cut", () => {
  assertEquals(
    renderTable(COLUMNS, { ...HUMAN, width: 24 }).split("\n"),
    [
      "NAME        SIZE   COUNT",
      "a           1.5K       7",
      "longer na…  1000  123456",
      "日本           -       0",
      "",
    ],
  );
});

Deno.test("a text is not cut below its header, nor for scripts", () => {
  const lines = renderTable(COLUMNS, { ...HUMAN, width: 5 }).split("\n");
  assertEquals(lines[2], "lon…  1000  123456");
  const bare = renderTable(COLUMNS, { ...BARE, width: 5 });
  assertEquals(bare.split("\t")[2].split("\n")[1], "longer name");
});
