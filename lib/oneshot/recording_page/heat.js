// @ts-check
/// <reference lib="dom" />
/**
 * The heat map: time across, addresses down, on a canvas. Zooms, and tells what is under
 * the pointer, the finger, or the cursor of the keyboard.
 *
 * @module
 */

import { drawAlways, LEFT, zoomByKey } from "./charts.js";
import { button, element } from "./elements.js";
import { shareText, sizeText, timeText } from "./format.js";
import { onPinch } from "./gestures.js";
import {
  drawHeat,
  HEIGHT,
  nameText,
  PLOT_HEIGHT,
  plotWidthOf,
  startOf,
} from "./heat_drawing.js";
import { ShownRange } from "./shown_range.js";

/**
 * @typedef {import("./page_data.ts").PageData} PageData
 * @typedef {{ row: number, column: number }} Cell
 */

/** How far a press moves before it is a drag, in pixels. */
const DRAG = 6;

/** The heat map. */
export class HeatView {
  /**
   * @param {PageData} data
   * @param {ShownRange} time
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
    const total = this.tops[this.tops.length - 1];
    /** In bytes of what is in the map. */
    this.addresses = new ShownRange(0, total, total / heat.rows.length);
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
    for (const { listeners } of [time, this.addresses]) {
      listeners.push(() => this.draw());
    }
    this.listen();
  }

  controls() {
    const { time, addresses } = this;
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
        button("▲", "Lower addresses", () => addresses.move(-0.5)),
        button("▼", "Higher addresses", () => addresses.move(0.5)),
      ]),
      button(
        "Everything",
        "Everything: all times and addresses",
        () => this.showAll(),
      ),
    ]);
  }

  /** Draws it whenever that is needed; its element has to be in the page. */
  begin() {
    drawAlways(() => this.draw());
    this.tell(this.cursor);
  }

  showAll() {
    this.addresses.showAll();
    this.time.showAll();
  }

  /**
   * Zooms in addresses: in to the cursor, if it is shown.
   *
   * @param {number} factor below one shows less
   */
  zoom(factor) {
    const { addresses, cursor: { row }, heat, tops } = this;
    const isShown = addresses.from <= tops[row] && tops[row] < addresses.to;
    const middle = isShown && factor < 1
      ? tops[row] + heat.rows[row].bytes / 2
      : undefined;
    addresses.zoom(factor, middle);
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
    canvas.addEventListener("pointercancel", () => this.cancelDrag());
    canvas.addEventListener("pointerleave", (event) => {
      // A finger that taps leaves at once.
      if (event.pointerType === "mouse") this.tip.hidden = true;
    });
    canvas.addEventListener("blur", () => {
      this.tip.hidden = true;
      this.draw();
    });
    canvas.addEventListener("focus", () => this.draw());
    canvas.addEventListener("dblclick", () => this.showAll());
    onPinch(canvas, ({ across, down }) => {
      this.tip.hidden = true;
      if (this.drag) this.cancelDrag();
      this.addresses.pinch(down, 0, PLOT_HEIGHT);
      this.time.pinch(across, LEFT, plotWidthOf(canvas));
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
      if (key === "0") this.addresses.showAll();
      return zoomByKey(key, this.time);
    }
    return true;
  }

  /** Moves what is shown so that the cursor is in it. */
  follow() {
    const { addresses, cursor: { row, column }, heat, time, tops } = this;
    addresses.reveal(tops[row], tops[row + 1]);
    time.reveal(startOf(this, column), heat.columns[column]);
  }

  cancelDrag() {
    this.drag = undefined;
    this.draw();
  }

  /** Shows what a drag has marked. */
  dropDrag() {
    const { addresses, drag, time } = this;
    this.drag = undefined;
    if (!drag) return;
    const [x, toX] = [drag.x, drag.toX].sort((a, b) => a - b);
    const [y, toY] = [drag.y, drag.toY].sort((a, b) => a - b);
    const [a, b] = [this.timeAt(x), this.timeAt(toX)];
    const [c, d] = [this.bytesAt(y), this.bytesAt(toY)];
    if (toY - y > DRAG) addresses.show(c, d);
    if (toX - x > DRAG) time.show(a, b);
    this.draw();
  }

  /** @param {number} x */
  timeAt(x) {
    return this.time.valueAt((x - LEFT) / plotWidthOf(this.canvas));
  }

  /** @param {number} y */
  bytesAt(y) {
    return this.addresses.valueAt(y / PLOT_HEIGHT);
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
      row < 0 || column < 0 || x < LEFT || y > PLOT_HEIGHT ||
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
      `${timeText(startOf(this, column))} to ${timeText(heat.columns[column])}`,
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
        ? `age: in use, within ${timeText(columns[at] - startOf(this, at))}`
        : `age: last used ${timeText(columns[column] - columns[at])} before`;
    }
    return `age: not used for ${
      timeText(columns[column] - this.time.first)
    } or longer`;
  }

  /** Draws what is shown. */
  draw() {
    drawHeat(this);
  }
}

/**
 * @param {string} base64
 * @returns {Uint8Array}
 */
function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
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
