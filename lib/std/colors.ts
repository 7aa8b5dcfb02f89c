/**
 * The colours of the Deno standard library that rcap uses, with their types: the
 * npm copy of the library is plain JavaScript.
 *
 * @module
 */

import * as std from "deno-std/fmt/colors.js";

/** Sets text colour or weight. */
export type Style = (text: string) => string;

export const dim: Style = std.dim;
export const green: Style = std.green;
export const red: Style = std.red;
export const yellow: Style = std.yellow;

/** Takes colours out of a text. */
export const stripAnsiCode: Style = std.stripAnsiCode;
