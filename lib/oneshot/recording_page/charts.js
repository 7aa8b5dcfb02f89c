// @ts-check
/// <reference lib="dom" />
/**
 * Lines over time and over caps, drawn by uPlot, with a legend that is text, and keys.
 *
 * @module
 */

// The page has it as a global.
import uPlot from "uplot";
import { colorOf, element } from "./elements.js";
import { sizeText } from "./format.js";
import { onPinch } from "./gestures.js";

/**
 * @typedef {import("uplot")} Plot
 * @typedef {import("uplot").Options} PlotOptions
 * @typedef {import("uplot").AlignedData} PlotData
 * @typedef {import("./shown_range.js").ShownRange} ShownRange
 *
 * @typedef {object} Line
 * @property {string} label
 * @property {string} color name of a colour of the style sheet
 * @property {readonly (number | null)[]} values
 * @property {boolean} [isFilled]
 * @property {boolean} [isDashed]
 *
 * @typedef {object} Chart
 * @property {string} title
 * @property {readonly number[]} x
 * @property {readonly Line[]} lines
 * @property {(x: number) => string} xText
 * @property {(y: number) => string} yText
 * @property {(y: number) => string} [yTickText]
 * @property {number} [height]
 * @property {ShownRange} [time] what of the time is shown, for lines over time
 * @property {boolean} [isPowers] whether the axis goes in powers
 * @property {number} [most] how far the axis goes at least
 * @property {number} [mark] where a vertical line is
 */

/** How wide the axis at the left is, and the margin at the right: the same everywhere. */
export const LEFT = 58;
export const RIGHT = 10;

/** Redraws everything when the width, the colours or the medium change. */
class Redraws {
  constructor() {
    /** @type {(() => void)[]} */
    this.all = [];
    const run = () => {
      for (const redraw of this.all) redraw();
    };
    for (const query of ["(prefers-color-scheme: dark)", "print"]) {
      matchMedia(query).addEventListener("change", run);
    }
    addEventListener("resize", run);
    addEventListener("beforeprint", run);
    addEventListener("afterprint", run);
  }
}

/** @type {Redraws | undefined} */
let redraws;

/**
 * Calls a function now, and whenever what is drawn has to be drawn anew.
 *
 * @param {() => void} redraw
 */
export function drawAlways(redraw) {
  redraws ??= new Redraws();
  redraws.all.push(redraw);
  redraw();
}

/**
 * A chart. Its element has to be in the page before `draw` is called.
 *
 * @param {Chart} chart
 * @returns {{ node: HTMLElement, draw: () => void }}
 */
export function lineChart(chart) {
  const { title, lines, x, time } = chart;
  const place = element("div", {
    class: "plot",
    tabindex: "0",
    role: "application",
    "aria-label": `${title}. Left and right read values${
      time ? "; plus, minus and 0 zoom in time" : ""
    }.`,
  });
  const values = lines.map(() => element("b"));
  const at = element("b");
  const legend = element("p", { class: "legend", "aria-live": "polite" }, [
    element("span", {}, [at]),
    ...lines.map(({ label, color }, index) =>
      element("span", {}, [
        element("i", { class: `key ${color.slice(2)}` }),
        `${label} `,
        values[index],
      ])
    ),
  ]);
  /** @param {number} index */
  const read = (index) => {
    at.textContent = chart.xText(x[index]);
    for (const [line, { values: all }] of lines.entries()) {
      const value = all[index];
      values[line].textContent = value === null ? "-" : chart.yText(value);
    }
  };
  read(x.length - 1);
  /** @type {Plot | undefined} */
  let plot;
  const draw = () => {
    plot?.destroy();
    plot = new uPlot(
      optionsOf(chart, place.clientWidth, read),
      /** @type {PlotData} */ ([x, ...lines.map(({ values }) => values)]),
      place,
    );
  };
  time?.listeners.push(() =>
    plot?.setScale("x", { min: time.from, max: time.to })
  );
  if (time) {
    onPinch(
      place,
      ({ across }) =>
        time.pinch(across, LEFT, place.clientWidth - LEFT - RIGHT),
    );
  }
  place.addEventListener("keydown", (event) => {
    if (!plot || event.ctrlKey || event.altKey || event.metaKey) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step !== undefined) {
      const now = plot.cursor.idx ?? x.length - 1;
      const next = Math.min(Math.max(now + step, 0), x.length - 1);
      plot.setCursor({ left: plot.valToPos(x[next], "x"), top: 0 });
    } else if (!time || !zoomByKey(event.key, time)) return;
    event.preventDefault();
  });
  return {
    node: element("figure", {}, [
      element("figcaption", {}, [title]),
      place,
      legend,
    ]),
    draw,
  };
}

/**
 * @param {string} key
 * @param {ShownRange} time
 * @returns {boolean} whether the key does something
 */
export function zoomByKey(key, time) {
  if (key === "+" || key === "=") time.zoom(0.5);
  else if (key === "-") time.zoom(2);
  else if (key === "0") time.showAll();
  else return false;
  return true;
}

/**
 * @param {Chart} chart
 * @param {number} width
 * @param {(index: number) => void} read
 * @returns {PlotOptions}
 */
function optionsOf(chart, width, read) {
  const { time, yText, yTickText = yText, xText, isPowers, mark } = chart;
  const ink = colorOf("--faint");
  const axis = {
    stroke: ink,
    font: "12px system-ui, sans-serif",
    grid: { stroke: colorOf("--grid"), width: 1 },
    ticks: { show: false },
  };
  return {
    width,
    height: chart.height ?? 200,
    padding: [8, RIGHT, 0, 0],
    legend: { show: false },
    cursor: {
      y: false,
      drag: { x: time !== undefined, y: false, setScale: false },
      points: { size: 6 },
      ...time ? { sync: { key: "time" } } : {},
    },
    scales: {
      x: time
        ? { time: false, range: () => [time.from, time.to] }
        : { time: false },
      y: {
        distr: isPowers ? 4 : 1,
        asinh: 10,
        range: (_plot, _least, most) => [0, topOf(most ?? 0, chart)],
      },
    },
    axes: [
      {
        ...axis,
        space: 70,
        size: 26,
        incrs: time ? TIME_STEPS : SIZE_STEPS,
        values: (_plot, splits) => splits.map((value) => xText(value)),
      },
      {
        ...axis,
        size: LEFT,
        space: 28,
        ...yText === sizeText ? { incrs: SIZE_STEPS } : {},
        values: (_plot, splits) =>
          splits.map((value) => value === null ? "" : yTickText(value)),
      },
    ],
    series: [
      {},
      ...chart.lines.map((line) => ({
        label: line.label,
        stroke: colorOf(line.color),
        width: 2,
        points: { show: line.values.length < 3 },
        ...line.isFilled ? { fill: `${colorOf(line.color)}22` } : {},
        ...line.isDashed ? { dash: [5, 4] } : {},
      })),
    ],
    hooks: {
      setCursor: [(plot) => {
        if (typeof plot.cursor.idx === "number") read(plot.cursor.idx);
      }],
      setSelect: [(plot) => {
        const { left, width } = plot.select;
        if (width < 4) return;
        plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        time?.show(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
      }],
      ready: [(plot) => {
        plot.over.addEventListener("dblclick", () => time?.showAll());
      }],
      draw: [(plot) => {
        if (mark === undefined) return;
        const { ctx, bbox } = plot;
        const left = plot.valToPos(mark, "x", true);
        ctx.save();
        ctx.strokeStyle = colorOf("--mark");
        ctx.lineWidth = 2 * devicePixelRatio;
        ctx.setLineDash([]);
        ctx.beginPath();
        ctx.moveTo(left, bbox.top);
        ctx.lineTo(left, bbox.top + bbox.height);
        ctx.stroke();
        ctx.restore();
      }],
    },
  };
}

/** Steps of an axis of sizes, in bytes. */
export const SIZE_STEPS = Array.from(
  { length: 40 },
  (_, power) => 4096 * 2 ** power,
);

/** Steps of an axis of time, in seconds. */
export const TIME_STEPS = [
  ...[1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600],
  ...[7200, 14_400, 21_600, 43_200, 86_400, 172_800, 604_800],
];

/**
 * @param {number} most
 * @param {Chart} chart
 * @returns {number}
 */
function topOf(most, { most: least = 0 }) {
  return Math.max(most * 1.08, least) || 1;
}
