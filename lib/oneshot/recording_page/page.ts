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
import heat from "./heat.js" with { type: "text" };
import main from "./main.js" with { type: "text" };
import { pageData } from "./page_data.ts";
import style from "./page.css" with { type: "text" };
import tables from "./tables.js" with { type: "text" };

/** Notices that their licences ask for. */
const NOTICE =
  "<!-- This page contains uPlot, copyright (c) Leon Sorokin, MIT licence: https://github.com/leeoniya/uPlot -->";

/** The modules of the page's script, those that others import first. */
const MODULES: readonly string[] = [
  format,
  elements,
  charts,
  heat,
  tables,
  main,
];

/**
 * Makes the page of a report.
 *
 * Names in it come from processes of others. They are in one JSON text, in which nothing
 * can end the element, and the script shows them as text only. The policy of the page lets
 * no request out, and runs no script but its own.
 */
export async function recordingPage(report: RecordingReport): Promise<string> {
  const script = `"use strict";${uplot}\n${joined(MODULES)}`;
  const css = uplotStyle + style;
  const policy = [
    "default-src 'none'",
    `script-src '${await hashOf(script)}'`,
    `style-src '${await hashOf(css)}'`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  return `<!doctype html>
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
<script type="application/json" id="data">${embedded(pageData(report))}</script>
<script>${script}</script>
</body>
</html>
`;
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
