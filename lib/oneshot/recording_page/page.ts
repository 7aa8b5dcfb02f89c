/**
 * The page of a recording: one HTML file that asks for nothing else.
 *
 * @module
 */

import uplot from "uplot/dist/uPlot.iife.min.js" with { type: "text" };
import uplotStyle from "uplot/dist/uPlot.min.css" with { type: "text" };
import type { RecordingReport } from "../recording_report.ts";
import charts from "./charts.js" with { type: "text" };
import elements from "./elements.js" with { type: "text" };
import format from "./format.js" with { type: "text" };
import gestures from "./gestures.js" with { type: "text" };
import heat from "./heat.js" with { type: "text" };
import heatDrawing from "./heat_drawing.js" with { type: "text" };
import main from "./main.js" with { type: "text" };
import { MOST_LISTED, pageData } from "./page_data.ts";
import style from "./page.css" with { type: "text" };
import shownRange from "./shown_range.js" with { type: "text" };
import tables from "./tables.js" with { type: "text" };

/** Notices that their licences ask for. */
const NOTICE =
  "<!-- This page contains uPlot, copyright (c) Leon Sorokin, MIT licence: https://github.com/leeoniya/uPlot -->";

/** The modules of the page's script, those that others import first. */
const MODULES: readonly string[] = [
  format,
  elements,
  gestures,
  shownRange,
  charts,
  heatDrawing,
  heat,
  tables,
  main,
];

/** The most bytes of a page whose lists can be made short enough, and the shortest list. */
const MOST_BYTES = 1e6;
const FEWEST_LISTED = 25;

/**
 * Makes the page of a report, in UTF-8. Its lists are shorter if names are so long that
 * the page would exceed 1 MB.
 *
 * Names in it come from processes of others. They are in one JSON text, in which nothing
 * can end the element, and the script shows them as text only. The policy of the page lets
 * no request out, and runs no script but its own.
 */
export async function recordingPage(
  report: RecordingReport,
): Promise<Uint8Array<ArrayBuffer>> {
  const script = `"use strict";${uplot}\n${joined(MODULES)}`;
  const css = uplotStyle + style;
  const policy = [
    "default-src 'none'",
    `script-src '${await hashOf(script)}'`,
    `style-src '${await hashOf(css)}'`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  const pageOf = (data: string) =>
    new TextEncoder().encode(`<!doctype html>
${NOTICE}
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>Memory of a recording</title>
<style>${css}</style>
</head>
<body>
<noscript>This page draws with JavaScript, which is off.</noscript>
<script type="application/json" id="data">${data}</script>
<script>${script}</script>
</body>
</html>
`);
  for (let listed = MOST_LISTED;; listed = Math.floor(listed / 2)) {
    const page = pageOf(embedded(pageData(report, listed)));
    if (page.length <= MOST_BYTES || listed < FEWEST_LISTED) return page;
  }
}

/**
 * JSON that is safe within a script element: `<` is what an end of the element or a
 * comment begins with.
 *
 * Source: HTML, restrictions for contents of script elements.
 */
export function embedded(value: unknown): string {
  return JSON.stringify(value).replaceAll("<", "\\u003c");
}

/** One script of modules that import nothing but what is before them. */
function joined(modules: readonly string[]): string {
  const text = modules.map((module) =>
    module.replace(/^import [^;]*;\n/gm, "").replace(/^export /gm, "")
  ).join("\n");
  return `{${text}}`;
}

/** Source: Content Security Policy Level 3, hash-source. */
async function hashOf(text: string): Promise<string> {
  const bytes = new TextEncoder().encode(text);
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return `sha256-${new Uint8Array(digest).toBase64()}`;
}
