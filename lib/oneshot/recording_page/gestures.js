// @ts-check
/// <reference lib="dom" />
/**
 * Two fingers on a chart or map, or a pinch on a touchpad. One finger scrolls the page.
 *
 * @module
 */

/**
 * What moved from one place to another and grew, in pixels of the element.
 *
 * @typedef {object} Pinch
 * @property {number} x
 * @property {number} y
 * @property {number} toX
 * @property {number} toY
 * @property {number} scaleX above one shows less
 * @property {number} scaleY
 */

/** Fingers that are closer along an axis do not zoom along it, in pixels. */
const LEAST_SPAN = 40;
/** How far a wheel turns for a factor of e, in pixels. */
const WHEEL = 200;

/**
 * Calls a function for each step of a pinch on an element.
 *
 * @param {HTMLElement} target
 * @param {(pinch: Pinch) => void} act
 */
export function onPinch(target, act) {
  /** @type {ReturnType<typeof fingersOf> | undefined} */
  let last;
  const begin = (/** @type {TouchEvent} */ event) => {
    last = event.targetTouches.length === 2
      ? fingersOf(event, target)
      : undefined;
    if (last) event.preventDefault();
  };
  target.addEventListener("touchstart", begin, { passive: false });
  target.addEventListener("touchend", begin);
  target.addEventListener("touchcancel", () => last = undefined);
  target.addEventListener("touchmove", (event) => {
    if (!last) return;
    event.preventDefault();
    const [a, b] = [last, fingersOf(event, target)];
    last = b;
    act({
      x: a.x,
      y: a.y,
      toX: b.x,
      toY: b.y,
      scaleX: Math.max(b.width, LEAST_SPAN) / Math.max(a.width, LEAST_SPAN),
      scaleY: Math.max(b.height, LEAST_SPAN) / Math.max(a.height, LEAST_SPAN),
    });
  }, { passive: false });
  // Browsers report a pinch on a touchpad as a wheel with Ctrl.
  target.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const { left, top } = target.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top];
    const scale = Math.exp(-event.deltaY / WHEEL);
    act({ x, y, toX: x, toY: y, scaleX: scale, scaleY: scale });
  }, { passive: false });
}

/**
 * The middle of two fingers, and how far apart they are.
 *
 * @param {TouchEvent} event
 * @param {HTMLElement} target
 */
function fingersOf({ targetTouches }, target) {
  const [a, b] = Array.from(targetTouches);
  const { left, top } = target.getBoundingClientRect();
  return {
    x: (a.clientX + b.clientX) / 2 - left,
    y: (a.clientY + b.clientY) / 2 - top,
    width: Math.abs(a.clientX - b.clientX),
    height: Math.abs(a.clientY - b.clientY),
  };
}
