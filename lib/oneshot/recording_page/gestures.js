// @ts-check
/// <reference lib="dom" />
/**
 * Two fingers on a chart or map, or a pinch on a touchpad. One finger scrolls the page.
 *
 * @module
 */

/**
 * What moved from one place to another and grew along an axis, in pixels of the element.
 *
 * @typedef {object} Stretch
 * @property {number} at
 * @property {number} to
 * @property {number} scale above one shows less
 *
 * @typedef {{ across: Stretch, down: Stretch }} Pinch
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
      across: { at: a.x, to: b.x, scale: scaleOf(a.width, b.width) },
      down: { at: a.y, to: b.y, scale: scaleOf(a.height, b.height) },
    });
  }, { passive: false });
  // Browsers report a pinch on a touchpad as a wheel with Ctrl.
  target.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const { left, top } = target.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top];
    const scale = Math.exp(-event.deltaY / WHEEL);
    act({ across: { at: x, to: x, scale }, down: { at: y, to: y, scale } });
  }, { passive: false });
}

/**
 * @param {number} before how far apart the fingers were
 * @param {number} after
 */
function scaleOf(before, after) {
  return Math.max(after, LEAST_SPAN) / Math.max(before, LEAST_SPAN);
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
