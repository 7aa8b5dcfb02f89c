// @ts-check
/// <reference lib="dom" />
/**
 * The picture of the heat map: cells, names, axes, and what is marked.
 *
 * @module
 */

import { LEFT, RIGHT, SIZE_STEPS, TIME_STEPS } from "./charts.js";
import { colorOf } from "./elements.js";
import { roundSizeText, timeText } from "./format.js";

/**
 * What is drawn.
 *
 * @typedef {object} Scene
 * @property {HTMLCanvasElement} canvas
 * @property {import("./page_data.ts").PageHeat} heat
 * @property {import("./shown_range.js").ShownRange} time
 * @property {readonly number[]} tops where each row begins, in bytes; and the end
 * @property {import("./shown_range.js").ShownRange} addresses in bytes of what is in the map
 * @property {Uint8Array} used
 * @property {Uint8Array} resident
 * @property {{ row: number, column: number }} cursor
 * @property {{ x: number, y: number, toX: number, toY: number } | undefined} drag
 *
 * @typedef {readonly number[]} Color red, green and blue
 */

export const HEIGHT = 460;
const BOTTOM = 24;
/** How high the cells are, without the axis, in pixels. */
export const PLOT_HEIGHT = HEIGHT - BOTTOM;
/** How high a mapping is before its name is written on it. */
const NAMED = 15;
/** Pixels of the canvas for one of CSS, in print. */
const PRINT_RATIO = 3;

/** Colours of a share, from not used to all used, of a style sheet's names. */
const STOPS = ["--heat-0", "--heat-1", "--heat-2", "--heat-3", "--heat-4"];

/**
 * How wide the cells are, in pixels.
 *
 * @param {HTMLCanvasElement} canvas
 */
export function plotWidthOf({ clientWidth }) {
  return Math.max(1, clientWidth - LEFT - RIGHT);
}

/**
 * When a column begins, in seconds.
 *
 * @param {Pick<Scene, "heat" | "time">} scene
 * @param {number} column
 */
export function startOf({ heat, time }, column) {
  return column > 0 ? heat.columns[column - 1] : time.first;
}

/**
 * Draws what of the map is shown.
 *
 * @param {Scene} scene
 */
export function drawHeat(scene) {
  const { canvas, time, addresses } = scene;
  if (canvas.clientWidth === 0) return;
  const ratio = matchMedia("print").matches ? PRINT_RATIO : devicePixelRatio;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(HEIGHT * ratio);
  const context = canvas.getContext("2d");
  if (!context) return;
  paintCells(context, scene, ratio);
  context.scale(ratio, ratio);
  const width = plotWidthOf(canvas);
  const toX = (/** @type {number} */ seconds) =>
    LEFT + (seconds - time.from) / (time.to - time.from) * width;
  const toY = (/** @type {number} */ bytes) =>
    (bytes - addresses.from) / (addresses.to - addresses.from) * PLOT_HEIGHT;
  context.save();
  context.beginPath();
  context.rect(LEFT, 0, width, PLOT_HEIGHT);
  context.clip();
  drawNames(context, scene, toY);
  drawMarks(context, scene, toX, toY);
  context.restore();
  drawAxes(context, scene, toX, toY);
}

/**
 * Paints the cells as pixels: a print of a hundred thousand rectangles lacks most of them.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {number} ratio
 */
function paintCells(context, scene, ratio) {
  const { canvas, heat, time, addresses, tops, used, resident } = scene;
  const width = Math.max(1, Math.round(plotWidthOf(canvas) * ratio));
  const height = Math.round(PLOT_HEIGHT * ratio);
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const columns = new Int32Array(width);
  for (let x = 0, column = 0; x < width; x++) {
    const at = time.valueAt((x + 0.5) / width);
    while (column < heat.columns.length && heat.columns[column] < at) column++;
    columns[x] = column < heat.columns.length ? column : -1;
  }
  const away = rgbOf("--away");
  const colors = palette();
  let [row, painted] = [0, -1];
  for (let y = 0; y < height; y++) {
    const at = addresses.valueAt((y + 0.5) / height);
    while (row < heat.rows.length - 1 && tops[row + 1] <= at) row++;
    const line = y * width;
    if (row === painted) {
      pixels.copyWithin(line, line - width, line);
      continue;
    }
    painted = row;
    for (let x = 0; x < width; x++) {
      const cell = row * heat.columns.length + columns[x];
      const value = columns[x] < 0 ? 0 : used[cell];
      // What was in memory for a part only is paler.
      pixels[line + x] = pixelOf(
        value === 0 ? away : mixed(
          away,
          colors[value],
          0.3 + 0.7 * Math.min(1, resident[cell] / 128),
        ),
      );
    }
  }
  context.putImageData(image, Math.round(LEFT * ratio), 0);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {(bytes: number) => number} toY
 */
function drawNames(context, { canvas, heat: { rows, names }, tops }, toY) {
  const width = plotWidthOf(canvas);
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  let written = -Infinity;
  for (let row = 0; row < rows.length;) {
    const { name, pid, isMixed } = rows[row];
    let next = row + 1;
    while (
      next < rows.length && rows[next].name === name &&
      rows[next].pid === pid && rows[next].isMixed === isMixed
    ) next++;
    const [top, end] = [toY(tops[row]), toY(tops[next])];
    if (row > 0) {
      context.fillStyle = colorOf("--paper");
      context.fillRect(LEFT, Math.round(top), width, 1);
    }
    const [y, bottom] = [Math.max(top, 0), Math.min(end, PLOT_HEIGHT)];
    if (bottom - y >= NAMED && y >= written) {
      const text = fitting(
        context,
        nameText(names[name]) + (isMixed ? " and others" : ""),
        width * 0.6,
      );
      context.globalAlpha = 0.85;
      context.fillStyle = colorOf("--paper");
      context.fillRect(
        LEFT,
        y + 1,
        context.measureText(text).width + 8,
        NAMED - 1,
      );
      context.globalAlpha = 1;
      context.fillStyle = colorOf("--ink");
      context.fillText(text, LEFT + 4, y + NAMED / 2 + 1);
      written = y + NAMED;
    }
    row = next;
  }
}

/**
 * The cursor of the keyboard, and what a drag marks.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {(seconds: number) => number} toX
 * @param {(bytes: number) => number} toY
 */
function drawMarks(context, scene, toX, toY) {
  const { cursor: { row, column }, drag, canvas, heat, tops } = scene;
  context.strokeStyle = colorOf("--ink");
  context.lineWidth = 2;
  if (drag) {
    const { x, y } = drag;
    context.strokeRect(x, y, drag.toX - x, drag.toY - y);
  } else if (document.activeElement === canvas) {
    const [x, y] = [toX(startOf(scene, column)), toY(tops[row])];
    context.strokeRect(
      x - 1,
      y - 1,
      toX(heat.columns[column]) - x + 2,
      toY(tops[row + 1]) - y + 2,
    );
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {(seconds: number) => number} toX
 * @param {(bytes: number) => number} toY
 */
function drawAxes(context, { canvas, time, addresses }, toX, toY) {
  const { from, to } = addresses;
  const width = plotWidthOf(canvas);
  context.fillStyle = colorOf("--faint");
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "top";
  context.textAlign = "center";
  const step = stepOf(time.to - time.from, width / 70, TIME_STEPS);
  for (let at = Math.ceil(time.from / step) * step; at <= time.to; at += step) {
    const half = context.measureText(timeText(at)).width / 2;
    const x = Math.min(toX(at), LEFT + width + RIGHT - half);
    context.fillText(timeText(at), x, PLOT_HEIGHT + 7);
  }
  context.textAlign = "right";
  context.textBaseline = "middle";
  const size = stepOf(to - from, 8, SIZE_STEPS);
  for (let at = Math.ceil(from / size) * size; at <= to; at += size) {
    const y = Math.min(Math.max(toY(at), 6), PLOT_HEIGHT - 6);
    context.fillText(roundSizeText(at), LEFT - 6, y);
  }
}

/**
 * The smallest step of which there are not too many.
 *
 * @param {number} length
 * @param {number} most
 * @param {readonly number[]} steps
 * @returns {number}
 */
function stepOf(length, most, steps) {
  return steps.find((step) => length / step <= most) ??
    steps[steps.length - 1];
}

/**
 * The name of a mapping, for people.
 *
 * @param {string} name
 * @returns {string}
 */
export function nameText(name) {
  return name === "" ? "anonymous" : name;
}

/**
 * The end of a text that is too wide.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} width
 * @returns {string}
 */
function fitting(context, text, width) {
  let shown = text;
  while (shown.length > 2 && context.measureText(shown).width > width) {
    shown = `…${shown.slice(2)}`;
  }
  return shown;
}

/**
 * The colour of each byte of a share.
 *
 * @returns {Color[]}
 */
function palette() {
  const stops = STOPS.map(rgbOf);
  return Array.from({ length: 256 }, (_, byte) => {
    const at = Math.max(0, byte - 1) / 254 * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    return mixed(stops[low], stops[low + 1], at - low);
  });
}

/**
 * @param {string} name of a colour of the style sheet, such as #a1b2c3
 * @returns {Color}
 */
function rgbOf(name) {
  const hex = Number.parseInt(colorOf(name).slice(1), 16);
  return [hex >> 16, hex >> 8 & 255, hex & 255];
}

/**
 * @param {Color} a
 * @param {Color} b
 * @param {number} share of b
 * @returns {Color}
 */
function mixed(a, b, share) {
  return a.map((value, channel) => value + (b[channel] - value) * share);
}

/**
 * A colour as ImageData has it, on processors that are little-endian: all that have a
 * browser.
 *
 * @param {Color} color
 * @returns {number}
 */
function pixelOf([red, green, blue]) {
  return 0xff000000 | Math.round(blue) << 16 | Math.round(green) << 8 |
    Math.round(red);
}
