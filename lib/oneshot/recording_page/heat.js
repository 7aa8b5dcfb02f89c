// @ts-check
/// <reference lib="dom" />
/**
 * The heat map: time across, addresses down, on a canvas. Zooms, and tells what is under
 * the pointer, the finger, or the cursor of the keyboard.
 *
 * @module
 */

import {
  drawAlways,
  LEFT,
  RIGHT,
  SIZE_STEPS,
  TIME_STEPS,
  zoomByKey,
} from "./charts.js";
import { button, colorOf, element } from "./elements.js";
import { roundSizeText, shareText, sizeText, timeText } from "./format.js";

/**
 * @typedef {import("./page_data.ts").PageData} PageData
 * @typedef {import("./charts.js").TimeRange} TimeRange
 * @typedef {{ row: number, column: number }} Cell
 */

const HEIGHT = 460;
const BOTTOM = 24;
/** How far a press moves before it is a drag, in pixels. */
const DRAG = 6;
/** How high a mapping is before its name is written on it. */
const NAMED = 15;

/** Colours of a share, from not used to all used, of a style sheet's names. */
const STOPS = ["--heat-0", "--heat-1", "--heat-2", "--heat-3", "--heat-4"];

/** The heat map. */
export class HeatView {
  /**
   * @param {PageData} data
   * @param {TimeRange} time
   */
  constructor(data, time) {
    const { heat } = data;
    this.data = data;
    this.heat = heat;
    this.time = time;
    this.used = bytesOf(heat.used);
    this.resident = bytesOf(heat.resident);
    this.width = heat.columns.length;
    /** Where each row begins, in bytes; and the end. */
    this.tops = [0];
    for (const { bytes } of heat.rows) {
      this.tops.push(this.tops[this.tops.length - 1] + bytes);
    }
    this.total = this.tops[this.tops.length - 1];
    this.from = 0;
    this.to = this.total;
    /** @type {Cell} */
    this.cursor = { row: 0, column: this.width - 1 };
    /** @type {{ x: number, y: number, toX: number, toY: number } | undefined} */
    this.drag = undefined;
    this.canvas = element("canvas", {
      tabindex: "0",
      role: "application",
      "aria-label":
        "Heat map. Arrows move the cursor; plus and minus zoom in time, " +
        "Page Up and Page Down in addresses, 0 shows everything.",
    });
    this.told = element("p", { class: "told", "aria-live": "polite" });
    this.tip = element("div", { class: "tip", "aria-hidden": "true" });
    this.tip.hidden = true;
    this.node = element("div", { class: "heat" }, [
      this.controls(),
      element("div", { class: "map" }, [this.canvas, this.tip]),
      legend(),
      this.told,
    ]);
    time.listeners.push(() => this.draw());
    this.listen();
  }

  controls() {
    const { time } = this;
    return element("div", {
      class: "controls",
      role: "toolbar",
      "aria-label": "Zoom",
    }, [
      element("span", {}, [
        "Time ",
        button("−", "Zoom out in time", () => time.zoom(2)),
        button("+", "Zoom in in time", () => time.zoom(0.5)),
        button("◀", "Earlier", () => time.move(-0.5)),
        button("▶", "Later", () => time.move(0.5)),
      ]),
      element("span", {}, [
        "Addresses ",
        button("−", "Zoom out in addresses", () => this.zoom(2)),
        button("+", "Zoom in in addresses", () => this.zoom(0.5)),
        button("▲", "Lower addresses", () => this.move(-0.5)),
        button("▼", "Higher addresses", () => this.move(0.5)),
      ]),
      button("Everything", "Everything: all times and addresses", () => {
        this.show(0, this.total);
        time.showAll();
      }),
    ]);
  }

  /** Draws it whenever that is needed; its element has to be in the page. */
  begin() {
    drawAlways(() => this.draw());
    this.tell(this.cursor);
  }

  /**
   * Shows a part of the addresses, in bytes of what is in the map.
   *
   * @param {number} from
   * @param {number} to
   */
  show(from, to) {
    const least = this.total / this.heat.rows.length;
    const length = Math.min(Math.max(to - from, least), this.total);
    this.from = Math.min(
      Math.max((from + to - length) / 2, 0),
      this.total - length,
    );
    this.to = this.from + length;
    this.draw();
  }

  /** @param {number} factor below one shows less */
  zoom(factor) {
    const middle = this.from <= this.tops[this.cursor.row] &&
        this.tops[this.cursor.row] < this.to && factor < 1
      ? this.tops[this.cursor.row] + this.heat.rows[this.cursor.row].bytes / 2
      : (this.from + this.to) / 2;
    const half = (this.to - this.from) / 2 * factor;
    this.show(middle - half, middle + half);
  }

  /** @param {number} share of what is shown */
  move(share) {
    const by = share * (this.to - this.from);
    this.show(this.from + by, this.to + by);
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      const { offsetX: x, offsetY: y } = event;
      // A finger that moves scrolls the page.
      if (event.pointerType === "mouse" && event.button === 0) {
        this.drag = { x, y, toX: x, toY: y };
        canvas.setPointerCapture(event.pointerId);
      }
      this.point(x, y);
    });
    canvas.addEventListener("pointermove", (event) => {
      const { offsetX: x, offsetY: y } = event;
      if (this.drag) {
        Object.assign(this.drag, { toX: x, toY: y });
        this.draw();
      }
      this.point(x, y);
    });
    canvas.addEventListener("pointerup", () => this.dropDrag());
    canvas.addEventListener("pointercancel", () => {
      this.drag = undefined;
      this.draw();
    });
    canvas.addEventListener("pointerleave", (event) => {
      // A finger that taps leaves at once.
      if (event.pointerType === "mouse") this.tip.hidden = true;
    });
    canvas.addEventListener("blur", () => {
      this.tip.hidden = true;
      this.draw();
    });
    canvas.addEventListener("focus", () => this.draw());
    canvas.addEventListener("dblclick", () => {
      this.show(0, this.total);
      this.time.showAll();
    });
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      if (this.key(event.key)) event.preventDefault();
    });
  }

  /** @param {string} key */
  key(key) {
    const { cursor, heat } = this;
    const step = {
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
      Home: [0, -Infinity],
      End: [0, Infinity],
    }[key];
    if (step) {
      const within = (
        /** @type {number} */ value,
        /** @type {number} */ most,
      ) => Math.min(Math.max(value, 0), most - 1);
      this.cursor = {
        row: within(cursor.row + step[0], heat.rows.length),
        column: within(cursor.column + step[1], this.width),
      };
      this.follow();
      this.tell(this.cursor);
      this.draw();
    } else if (key === "PageUp") this.zoom(2);
    else if (key === "PageDown") this.zoom(0.5);
    else {
      if (key === "0") this.show(0, this.total);
      return zoomByKey(key, this.time);
    }
    return true;
  }

  /** Moves what is shown so that the cursor is in it. */
  follow() {
    const { cursor: { row, column }, time } = this;
    const [top, end] = [this.tops[row], this.tops[row + 1]];
    const shown = this.to - this.from;
    if (top < this.from) this.show(top, top + shown);
    else if (end > this.to) this.show(end - shown, end);
    const at = this.heat.columns[column];
    const length = time.to - time.from;
    const start = this.startOf(column);
    if (start < time.from) time.show(start, start + length);
    else if (at > time.to) time.show(at - length, at);
  }

  /** Shows what a drag has marked. */
  dropDrag() {
    const { drag, time } = this;
    this.drag = undefined;
    if (!drag) return;
    const [x, toX] = [drag.x, drag.toX].sort((a, b) => a - b);
    const [y, toY] = [drag.y, drag.toY].sort((a, b) => a - b);
    const [a, b] = [this.timeAt(x), this.timeAt(toX)];
    const [c, d] = [this.bytesAt(y), this.bytesAt(toY)];
    if (toY - y > DRAG) this.show(c, d);
    if (toX - x > DRAG) time.show(a, b);
    this.draw();
  }

  get plotWidth() {
    return this.canvas.clientWidth - LEFT - RIGHT;
  }

  get plotHeight() {
    return HEIGHT - BOTTOM;
  }

  /** @param {number} x */
  timeAt(x) {
    const { from, to } = this.time;
    return from + (x - LEFT) / this.plotWidth * (to - from);
  }

  /** @param {number} y */
  bytesAt(y) {
    return this.from + y / this.plotHeight * (this.to - this.from);
  }

  /** @param {number} column */
  startOf(column) {
    return column > 0 ? this.heat.columns[column - 1] : this.time.first;
  }

  /**
   * Tells what is at a place.
   *
   * @param {number} x
   * @param {number} y
   */
  point(x, y) {
    const [time, bytes] = [this.timeAt(x), this.bytesAt(y)];
    const row = this.tops.findIndex((top) => top > bytes) - 1;
    const column = this.heat.columns.findIndex((end) => end >= time);
    if (
      row < 0 || column < 0 || x < LEFT || y > this.plotHeight ||
      time < this.time.first
    ) {
      this.tip.hidden = true;
      return;
    }
    this.cursor = { row, column };
    this.tell(this.cursor);
    this.tip.replaceChildren(
      ...this.textOf(this.cursor).map((line) => element("div", {}, [line])),
    );
    this.tip.hidden = false;
    const room = this.canvas.clientWidth - this.tip.offsetWidth;
    this.tip.style.left = `${Math.max(0, Math.min(x + 14, room))}px`;
    const below = y + 18 + this.tip.offsetHeight < HEIGHT;
    this.tip.style.top = `${below ? y + 18 : y - 12 - this.tip.offsetHeight}px`;
  }

  /** @param {Cell} cell */
  tell(cell) {
    this.told.textContent = this.textOf(cell).join(" · ");
  }

  /**
   * @param {Cell} cell
   * @returns {string[]}
   */
  textOf({ row, column }) {
    const { heat, width } = this;
    const { pid, name, isMixed, start, end, bytes } = heat.rows[row];
    const cell = row * width + column;
    const resident = this.resident[cell] / 255 * bytes;
    const text = nameText(heat.names[name]);
    return [
      `${text}${isMixed ? " and others" : ""}, process ${pid}`,
      `${start} to ${end}`,
      `${timeText(this.startOf(column))} to ${timeText(heat.columns[column])}`,
      this.used[cell] === 0
        ? "not in memory"
        : `${sizeText(Math.round(resident))} in memory, ${
          shareText((this.used[cell] - 1) / 254)
        } of it used`,
      this.ageText(row, column),
    ];
  }

  /**
   * How long ago any of a row was used, as of the end of a column.
   *
   * @param {number} row
   * @param {number} column
   * @returns {string}
   */
  ageText(row, column) {
    const { heat: { columns }, width, used } = this;
    for (let at = column; at >= 0; at--) {
      if (used[row * width + at] <= 1) continue;
      return at === column
        ? `age: in use, within ${timeText(columns[at] - this.startOf(at))}`
        : `age: last used ${timeText(columns[column] - columns[at])} before`;
    }
    return `age: not used for ${
      timeText(columns[column] - this.time.first)
    } or longer`;
  }

  /** Draws what is shown. */
  draw() {
    const { canvas, heat, width, time } = this;
    if (canvas.clientWidth === 0) return;
    const ratio = devicePixelRatio;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(HEIGHT * ratio);
    const context = canvas.getContext("2d");
    if (!context) return;
    context.scale(ratio, ratio);
    const [w, h] = [this.plotWidth, this.plotHeight];
    const toX = (/** @type {number} */ seconds) =>
      LEFT + (seconds - time.from) / (time.to - time.from) * w;
    const toY = (/** @type {number} */ bytes) =>
      (bytes - this.from) / (this.to - this.from) * h;
    const colors = palette();
    context.save();
    context.beginPath();
    context.rect(LEFT, 0, w, h);
    context.clip();
    context.fillStyle = colorOf("--away");
    context.fillRect(LEFT, 0, w, h);
    const edge = (/** @type {number} */ value) =>
      Math.round(value * ratio) / ratio;
    for (let row = 0; row < heat.rows.length; row++) {
      if (this.tops[row + 1] <= this.from || this.tops[row] >= this.to) {
        continue;
      }
      const [top, end] = [
        edge(toY(this.tops[row])),
        edge(toY(this.tops[row + 1])),
      ];
      for (let column = 0; column < width; column++) {
        const start = this.startOf(column);
        if (heat.columns[column] < time.from || start > time.to) continue;
        const value = this.used[row * width + column];
        if (value === 0) continue;
        const [left, right] = [
          edge(toX(start)),
          edge(toX(heat.columns[column])),
        ];
        context.fillStyle = colors[value];
        context.globalAlpha = 0.3 +
          0.7 * Math.min(1, this.resident[row * width + column] / 128);
        context.fillRect(left, top, right - left, end - top);
      }
    }
    context.globalAlpha = 1;
    this.drawNames(context, toY);
    this.drawMarks(context, toX, toY);
    context.restore();
    this.drawAxes(context, toX, toY);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {(bytes: number) => number} toY
   */
  drawNames(context, toY) {
    const { rows, names } = this.heat;
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
      const [top, end] = [toY(this.tops[row]), toY(this.tops[next])];
      if (row > 0) {
        context.fillStyle = colorOf("--paper");
        context.fillRect(LEFT, Math.round(top), this.plotWidth, 1);
      }
      const [y, bottom] = [
        Math.max(top, 0),
        Math.min(end, this.plotHeight),
      ];
      if (bottom - y >= NAMED && y >= written) {
        const text = fitting(
          context,
          nameText(names[name]) + (isMixed ? " and others" : ""),
          this.plotWidth * 0.6,
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
   * @param {(seconds: number) => number} toX
   * @param {(bytes: number) => number} toY
   */
  drawMarks(context, toX, toY) {
    const { cursor: { row, column }, drag } = this;
    context.strokeStyle = colorOf("--ink");
    context.lineWidth = 2;
    if (drag) {
      const { x, y } = drag;
      context.strokeRect(x, y, drag.toX - x, drag.toY - y);
    } else if (document.activeElement === this.canvas) {
      const [x, y] = [toX(this.startOf(column)), toY(this.tops[row])];
      context.strokeRect(
        x - 1,
        y - 1,
        toX(this.heat.columns[column]) - x + 2,
        toY(this.tops[row + 1]) - y + 2,
      );
    }
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {(seconds: number) => number} toX
   * @param {(bytes: number) => number} toY
   */
  drawAxes(context, toX, toY) {
    const { time } = this;
    context.fillStyle = colorOf("--faint");
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "top";
    context.textAlign = "center";
    const step = stepOf(time.to - time.from, this.plotWidth / 70, TIME_STEPS);
    for (
      let at = Math.ceil(time.from / step) * step;
      at <= time.to;
      at += step
    ) {
      const half = context.measureText(timeText(at)).width / 2;
      const x = Math.min(toX(at), LEFT + this.plotWidth + RIGHT - half);
      context.fillText(timeText(at), x, this.plotHeight + 7);
    }
    context.textAlign = "right";
    context.textBaseline = "middle";
    const size = stepOf(this.to - this.from, 8, SIZE_STEPS);
    for (
      let at = Math.ceil(this.from / size) * size;
      at <= this.to;
      at += size
    ) {
      const y = Math.min(Math.max(toY(at), 6), this.plotHeight - 6);
      context.fillText(roundSizeText(at), LEFT - 6, y);
    }
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
 * @param {string} base64
 * @returns {Uint8Array}
 */
function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
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
 * @returns {string[]}
 */
function palette() {
  const stops = STOPS.map((name) => {
    const hex = Number.parseInt(colorOf(name).slice(1), 16);
    return [hex >> 16, hex >> 8 & 255, hex & 255];
  });
  return Array.from({ length: 256 }, (_, byte) => {
    const at = Math.max(0, byte - 1) / 254 * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    const mixed = stops[low].map((value, channel) =>
      Math.round(value + (stops[low + 1][channel] - value) * (at - low))
    );
    return `rgb(${mixed.join(" ")})`;
  });
}

/** What the colours mean. */
function legend() {
  return element("p", { class: "legend" }, [
    element("span", {}, [element("i", { class: "key away" }), "not in memory"]),
    element("span", {}, [
      "not used ",
      element("i", { class: "ramp" }),
      " all used within an interval",
    ]),
  ]);
}
