// @ts-check
/// <reference lib="dom" />
/**
 * Builds the page of a recording from its data.
 *
 * @module
 */

import { drawAlways, lineChart } from "./charts.js";
import { element, section } from "./elements.js";
import {
  numberText,
  roundSizeText,
  shareText,
  sizeText,
  timeText,
} from "./format.js";
import { HeatView } from "./heat.js";
import { nameText } from "./heat_drawing.js";
import { ShownRange } from "./shown_range.js";
import { sortableTable } from "./tables.js";

/** @typedef {import("./page_data.ts").PageData} PageData */

/** @type {PageData} */
const data = JSON.parse(document.getElementById("data")?.textContent ?? "");

const { timeline, heat, sizing, interval } = data;
const time = new ShownRange(data.from, data.to, interval * 3);

/**
 * @param {string} title
 * @param {Parameters<typeof lineChart>[0]["lines"]} lines
 * @param {Partial<Parameters<typeof lineChart>[0]>} more
 */
function overTime(title, lines, more) {
  return lineChart({
    title,
    lines,
    x: timeline.seconds,
    xText: timeText,
    yText: sizeText,
    yTickText: roundSizeText,
    time,
    ...more,
  });
}

const sizes = overTime("Size over time", [
  { label: "size", color: "--line-size", values: timeline.size },
  {
    label: "could be paged out",
    color: "--line-pageable",
    values: timeline.pageable,
    isDashed: true,
  },
  {
    label: "working set (2 min)",
    color: "--line-working",
    values: timeline.workingSet,
    isFilled: true,
  },
  {
    label: "used in an interval",
    color: "--line-used",
    values: timeline.used,
  },
], { height: 280 });

const troubles = [
  overTime("Major faults a second", [{
    label: "faults from swap or disk",
    color: "--line-used",
    values: timeline.majorFaults,
    isFilled: true,
  }], { height: 130, yText: numberText, yTickText: numberText, most: 1 }),
  overTime("In swap", [{
    label: "of these processes",
    color: "--line-working",
    values: timeline.swapped,
    isFilled: true,
  }], { height: 130, most: 2 ** 20 }),
  ...timeline.pressure.some((value) => value !== null)
    ? [
      overTime("Memory pressure of the machine", [{
        label: "time in which some process waited for memory",
        color: "--line-size",
        values: timeline.pressure,
        isFilled: true,
      }], { height: 130, yText: shareText, yTickText: shareText, most: 0.01 }),
    ]
    : [],
];

/** @type {ReturnType<typeof lineChart> | undefined} */
let curve;
if (sizing && sizing.curve.length > 1) {
  const { recommended, budget } = sizing;
  const caps = sizing.curve.map(({ cap }) => cap);
  curve = lineChart({
    title: "Refaults by cap, pages a minute",
    x: caps,
    xText: roundSizeText,
    yText: numberText,
    lines: [
      {
        label: "in the worst minute",
        color: "--line-used",
        values: sizing.curve.map(({ worstMinute }) => worstMinute),
      },
      {
        label: "on average",
        color: "--line-working",
        values: sizing.curve.map(({ refaults }) => refaults * 60),
        isFilled: true,
      },
      {
        label: "the most that is accepted",
        color: "--faint",
        values: caps.map(() => budget),
        isDashed: true,
      },
    ],
    height: 260,
    isPowers: true,
    ...recommended ? { mark: recommended.cap } : {},
  });
}

const map = heat.rows.length > 0 ? new HeatView(data, time) : undefined;

/** What the heat map keeps, as sentences. */
function keptText() {
  const rows = heat.rows.map(({ bytes }) => bytes).sort((a, b) => a - b);
  const columns = heat.columns.map((end, at) =>
    end - (at > 0 ? heat.columns[at - 1] : data.from)
  ).sort((a, b) => a - b);
  const middle = (/** @type {number[]} */ all) =>
    all[Math.floor(all.length / 2)];
  return `The map keeps ${rows.length} rows of ${
    sizeText(middle(rows))
  } and ${columns.length} columns of ${
    timeText(middle(columns))
  }; zooming shows no more than that. A share is kept to half a percent.`;
}

const noMore = (/** @type {number} */ left) =>
  left > 0
    ? ` The ${left} smallest are left out here; rcap report --json has up to 1000.`
    : "";

const began = new Date(data.startedAt * 1000);
const facts = [
  data.file,
  began.toISOString().slice(0, 16).replace("T", " ") + " UTC",
  `every ${timeText(interval)}`,
  `rcap ${data.rcap}`,
];

/**
 * A column of sizes.
 *
 * @template Row
 * @param {string} title
 * @param {(row: Row) => number} value in bytes
 * @returns {import("./tables.js").Column<Row>}
 */
function sizeColumn(title, value) {
  return { title, value, text: (row) => sizeText(value(row)) };
}

/** @type {readonly import("./tables.js").Column<PageData["mappings"][number]>[]} */
const mappingColumns = [
  { title: "mapping", value: ({ name }) => nameText(name) },
  sizeColumn("could be paged out", ({ pageable }) => pageable),
  sizeColumn("working set", ({ workingSet }) => workingSet),
  sizeColumn("unused", ({ neverUsed }) => neverUsed),
  { title: "pid", value: ({ pid }) => pid },
  { title: "address", value: ({ start }) => start },
];

/** @type {readonly import("./tables.js").Column<PageData["processes"][number]>[]} */
const processColumns = [
  { title: "process", value: ({ comm }) => comm },
  { title: "pid", value: ({ pid }) => pid },
  sizeColumn("size", ({ size }) => size),
  sizeColumn("working set", ({ workingSet }) => workingSet),
  sizeColumn("unused", ({ neverUsed }) => neverUsed),
  sizeColumn("in swap", ({ swapped }) => swapped),
  { title: "major faults", value: ({ majorFaults }) => majorFaults },
  {
    title: "left after",
    value: ({ leftAt }) => leftAt,
    text: ({ leftAt }) => leftAt === null ? "-" : timeText(leftAt),
  },
];

const what = data.selectors
  .map((one) => /^\d+$/.test(one) ? `process ${one}` : one).join(" ");
document.title = `Memory of ${what}`;
document.body.append(
  element("header", {}, [
    element("h1", {}, [`Memory of ${what}`]),
    element("p", { class: "facts" }, [facts.join(" · ")]),
  ]),
  element("main", {}, [
    element(
      "section",
      { class: "headline", "aria-label": "Summary" },
      data.sentences.map((sentence) => element("p", {}, [sentence])),
    ),
    section(
      "Working set and size",
      "What was used within two minutes, beside what the processes occupied. Drag across a chart to look closer at a time; a double click shows all of it.",
      [
        sizes.node,
        ...data.merged > 1
          ? [
            element("p", { class: "explanation" }, [
              `Each point is the mean of ${data.merged} intervals; of pressure, the highest.`,
            ]),
          ]
          : [],
      ],
    ),
    ...map
      ? [
        section(
          "Heat map",
          `Time goes across, addresses down: only memory that could be paged out and was resident. Point at a place or tap it to read its mapping, address and age; drag, or pinch with two fingers, to zoom. ${keptText()}`,
          [map.node],
        ),
      ]
      : [],
    section(
      "Faults, swap and pressure",
      "On the same axis of time.",
      troubles.map(({ node }) => node),
    ),
    ...curve && sizing
      ? [
        section(
          "What a cap would cost",
          (sizing.recommended
            ? `The vertical line is the recommended cap, ${
              sizeText(sizing.recommended.cap)
            }. `
            : "No cap below the size can be recommended. ") +
            "Left of it, more pages would have been used again after they were paged out. The axis goes in powers of ten.",
          [curve.node],
        ),
      ]
      : [],
    section(
      "Mappings",
      `As of the end; a heading sorts. unused was not used while it was recorded.${
        noMore(data.mappingsLeft)
      }`,
      [sortableTable("Mappings", data.mappings, mappingColumns, 1)],
    ),
    section(
      "Processes",
      `As of the end, or of when they left.${noMore(data.processesLeft)}`,
      [sortableTable("Processes", data.processes, processColumns, 2)],
    ),
  ]),
);
for (const chart of [sizes, ...troubles, ...curve ? [curve] : []]) {
  drawAlways(chart.draw);
}
map?.begin();
