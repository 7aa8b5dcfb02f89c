// @ts-check
/// <reference lib="dom" />
/**
 * Tables that are sorted by any column.
 *
 * @module
 */

import { element } from "./elements.js";

/** How many rows are printed; the style sheet leaves out the others. */
const PRINTED = 40;

/**
 * @template Row
 * @typedef {object} Column
 * @property {string} title
 * @property {(row: Row) => number | string | null} value what it is sorted by
 * @property {(row: Row) => string} [text] what is shown, if not the value
 */

/**
 * A table. The headings are buttons that sort; numbers begin with the largest.
 *
 * @template Row
 * @param {string} caption
 * @param {readonly Row[]} rows
 * @param {readonly Column<Row>[]} columns
 * @param {number} sorted the column that it is sorted by at first
 * @returns {HTMLElement}
 */
export function sortableTable(caption, rows, columns, sorted) {
  const body = element("tbody");
  /** @type {{ column: number, isUp: boolean }} */
  let order = { column: sorted, isUp: false };
  const isText = columns.map(({ value }) =>
    rows.some((row) => typeof value(row) === "string")
  );
  const heads = columns.map(({ title }, column) => {
    const press = element("button", { type: "button" }, [title]);
    press.addEventListener("click", () => {
      order = {
        column,
        isUp: order.column === column ? !order.isUp : isText[column],
      };
      fill();
    });
    return element("th", {
      scope: "col",
      ...isText[column] ? { class: "text" } : {},
    }, [press]);
  });
  const fill = () => {
    const { value } = columns[order.column];
    const sign = order.isUp ? 1 : -1;
    const all = [...rows].sort((a, b) => sign * compared(value(a), value(b)));
    body.replaceChildren(...all.map((row) =>
      element(
        "tr",
        {},
        columns.map(({ value, text }, column) =>
          element("td", isText[column] ? { class: "text" } : {}, [
            text ? text(row) : String(value(row) ?? "-"),
          ])
        ),
      )
    ));
    for (const [column, head] of heads.entries()) {
      const direction = order.isUp ? "ascending" : "descending";
      head.setAttribute(
        "aria-sort",
        column === order.column ? direction : "none",
      );
    }
  };
  fill();
  return element("div", {
    class: "table",
    tabindex: "0",
    role: "group",
    "aria-label": caption,
  }, [
    element("table", {}, [
      element("caption", {}, [caption]),
      element("thead", {}, [element("tr", {}, heads)]),
      body,
    ]),
    ...rows.length > PRINTED
      ? [
        element("p", { class: "printed explanation" }, [
          `The first ${PRINTED} of ${rows.length} rows.`,
        ]),
      ]
      : [],
  ]);
}

/**
 * @param {number | string | null} a
 * @param {number | string | null} b
 * @returns {number}
 */
function compared(a, b) {
  if (typeof a === "string" && typeof b === "string") {
    return a < b ? -1 : a > b ? 1 : 0;
  }
  return Number(a ?? -1) - Number(b ?? -1);
}
