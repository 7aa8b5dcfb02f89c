// @ts-check
/**
 * Figures as the page writes them: sizes as rcap prints them elsewhere.
 *
 * @module
 */

const SIZE_UNITS = ["", "K", "M", "G", "T", "P"];

/**
 * A size, such as `1.5G`.
 *
 * @param {number} bytes
 * @returns {string}
 */
export function sizeText(bytes) {
  let [value, unit] = [bytes, 0];
  while (value >= 1024 && unit < SIZE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)}${SIZE_UNITS[unit]}`;
}

/**
 * A size on an axis, without a needless decimal.
 *
 * @param {number} bytes
 * @returns {string}
 */
export function roundSizeText(bytes) {
  return sizeText(bytes).replace(/\.0(?=[A-Z])/, "");
}

/**
 * A duration, such as `1h 5m` or `12s`.
 *
 * @param {number} seconds
 * @returns {string}
 */
export function timeText(seconds) {
  const whole = Math.round(seconds);
  const [h, m, s] = [
    Math.floor(whole / 3600),
    Math.floor(whole / 60) % 60,
    whole % 60,
  ];
  const parts = [h && `${h}h`, m && `${m}m`, s && `${s}s`].filter(Boolean);
  return parts.join(" ") || "0s";
}

/**
 * A share, such as `12.5 %`.
 *
 * @param {number} share
 * @returns {string}
 */
export function shareText(share) {
  const percent = share * 100;
  return `${percent.toFixed(percent < 10 && percent > 0 ? 1 : 0)} %`;
}

/**
 * A number with few digits.
 *
 * @param {number} value
 * @returns {string}
 */
export function numberText(value) {
  return Number(value.toPrecision(3)).toLocaleString("en");
}
