/**
 * Tests of the page of `rcap report --html`, of a live process and of one whose names are
 * markup, in a real browser.
 *
 * @module
 */

/// <reference lib="dom" />

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { Page } from "puppeteer-core";
import { libc } from "../../ffi/libc.ts";
import {
  type SyntheticSize,
  writeSynthetic,
} from "../../lib/oneshot/recording_page/testing.ts";
import type { RecordingReport } from "../../lib/oneshot/recording_report.ts";
import { describeRecording } from "../../lib/oneshot/recording_text.ts";
import { formatSize } from "../../lib/report/units.ts";
import { assertRuns } from "../../scripts/package/run.ts";
import {
  assertAccessible,
  type Look,
  TestBrowser,
} from "../support/browser.ts";
import { CProcess } from "../support/c_program.ts";
import { Folder } from "../support/folder.ts";
import { requireRoot } from "../support/live.ts";
import { requirePrograms } from "../support/programs.ts";
import { rcap, rcapJson } from "../support/rcap.ts";

requireRoot();

// Opened before the first test, which would otherwise appear to leak it.
libc();

const LOOKS: readonly Look[] = [400, 1400].flatMap((width) =>
  (["light", "dark"] as const).map((scheme) => ({ width, scheme }))
);

/** Enough for every chart, and for a map that can be zoomed. */
const SOME: SyntheticSize = {
  pages: 4096,
  steps: 60,
  mappings: 6,
  nameLength: 1,
};

/** Makes the page of a recording; returns its path. */
async function pageOf(recording: string): Promise<string> {
  const page = `${recording}.html`;
  const { code, stderr } = await rcap(["report", recording, "--html", page]);
  assertEquals(code, 0, stderr);
  return page;
}

/** Makes the page of a recording whose names are markup; returns its path. */
function syntheticPage(folder: Folder, size: SyntheticSize): Promise<string> {
  const recording = folder.file("one.rcap");
  writeSynthetic(recording, size);
  return pageOf(recording);
}

/** What the map shows. */
function pictureOf(page: Page): Promise<string> {
  return page.$eval("canvas[tabindex]", (one) =>
    // The selector finds a canvas only.
    (one as HTMLCanvasElement).toDataURL());
}

Deno.test("the page of a live process has the figures of --json, and asks for nothing", async () => {
  using folder = new Folder();
  await using one = await CProcess.start(
    "reuse",
    "4096",
    "2048",
    "8192",
    "4000",
  );
  const recording = folder.file("one.rcap");
  const { code, stderr } = await rcap([
    ...["record", `pid:${one.pid}`, "-o", recording],
    ...["--for", "10s", "--every", "1s"],
  ]);
  assertEquals(code, 0, stderr);
  const file = await pageOf(recording);
  const { json } = await rcapJson<RecordingReport>(["report", recording]);
  await using browser = await TestBrowser.start();
  for (const look of LOOKS) {
    await using opened = await browser.open(file, look);
    const { page, noticed } = opened;
    const texts = (selector: string) =>
      page.$$eval(selector, (all) => all.map((one) => one.textContent));
    assertEquals(await texts(".headline p"), describeRecording(json));
    const rows = json.mappings.map(
      ({ pid, name, start, pageable, workingSet, neverUsed }) => [
        name === "" ? "anonymous" : name.length > 120 ? undefined : name,
        ...[pageable, workingSet, neverUsed].map(formatSize),
        `${pid}`,
        start,
      ],
    );
    const cells = await texts("[aria-label=Mappings] td");
    assertEquals(cells.length, rows.length * 6);
    for (const [row, expected] of rows.entries()) {
      for (const [column, text] of expected.entries()) {
        if (text !== undefined) assertEquals(cells[row * 6 + column], text);
      }
    }
    const last = json.timeline[json.timeline.length - 1];
    const legends = await page.$$eval(
      "figure .legend",
      (all) =>
        all.map((one) =>
          [...one.querySelectorAll("b")].slice(1).map((value) =>
            value.textContent
          )
        ),
    );
    const { sizing } = json;
    assert(sizing && last.pressure !== null);
    const largest = sizing.curve[sizing.curve.length - 1];
    const worst = largest.worstMinute.toLocaleString("en");
    assertEquals(legends.map((values) => values.length), [4, 1, 1, 1, 3]);
    const [sizes, , [swapped], , [worstMinute, , budget]] = legends;
    assertEquals(
      [...sizes, swapped, worstMinute, budget],
      [
        ...[last.size, last.pageable, last.workingSet, last.used, last.swapped]
          .map(formatSize),
        worst,
        `${sizing.budget}`,
      ],
    );
    if (sizing.recommended) {
      assertStringIncludes(
        await page.$eval("main", (one) => one.textContent ?? ""),
        `the recommended cap, ${formatSize(sizing.recommended.cap)}.`,
      );
    }
    assertEquals(
      await page.evaluate(() => document.documentElement.scrollWidth),
      look.width,
    );
    await assertAccessible(page);
    assertEquals(noticed, []);
  }
});

Deno.test("the page is for its owner only, and overwrites and follows nothing", async () => {
  using folder = new Folder();
  const recording = folder.file("one.rcap");
  writeSynthetic(recording, {
    pages: 64,
    steps: 4,
    mappings: 1,
    nameLength: 1,
  });
  const page = await pageOf(recording);
  assertEquals((Deno.statSync(page).mode ?? 0) & 0o777, 0o600);
  const before = Deno.readTextFileSync(page);
  const again = await rcap(["report", recording, "--html", page]);
  assertEquals(again.code, 1);
  assertStringIncludes(again.stderr, "choose another name with --html");
  assertEquals(Deno.readTextFileSync(page), before);
  const [link, target] = [folder.file("link"), folder.file("target")];
  Deno.symlinkSync(target, link);
  const followed = await rcap(["report", recording, "--html", link]);
  assertEquals(followed.code, 1);
  assert(!await Deno.lstat(target).then(() => true, () => false));
  // What cannot be reported leaves no page behind.
  const none = folder.file("none.html");
  const empty = await rcap([
    ...["report", recording, "--html", none, "--process", "other"],
  ]);
  assertEquals(empty.code, 1);
  assert(!await Deno.lstat(none).then(() => true, () => false));
  const two = await rcap(["report", recording, "--html", none, "--json"]);
  assertEquals(two.code, 2);
});

Deno.test("names that are markup are text, and the keyboard operates everything", async () => {
  using folder = new Folder();
  const file = await syntheticPage(folder, SOME);
  await using browser = await TestBrowser.start();
  for (const look of LOOKS) {
    await using opened = await browser.open(file, look);
    const { page, noticed } = opened;
    const text = (selector: string) =>
      page.$eval(selector, (one) => one.textContent ?? "");
    const counts = await page.evaluate(() =>
      ["img", "b[onerror]", "script"].map((name) =>
        document.querySelectorAll(name).length
      )
    );
    assertEquals(counts, [0, 0, 2]);
    assertStringIncludes(await text("h1"), "</script><img src=");
    assertStringIncludes(await text("[aria-label=Processes]"), "<!--<script>");
    await assertAccessible(page);

    // Tab goes through every button, chart, map and table once.
    const operable = await page.evaluate(() =>
      document.querySelectorAll("button, [tabindex='0']").length
    );
    const reached = new Set<string>();
    for (let press = 0; press < operable; press++) {
      await page.keyboard.press("Tab");
      reached.add(
        await page.evaluate(() => {
          const all = [...document.querySelectorAll("*")];
          const { activeElement } = document;
          return activeElement === document.body || !activeElement
            ? "nothing"
            : `${all.indexOf(activeElement)}`;
        }),
      );
    }
    assertEquals([reached.size, reached.has("nothing")], [operable, false]);

    // The map: its cursor, and its zoom.
    const picture = () => pictureOf(page);
    await page.focus("canvas[tabindex]");
    const told = await text(".told");
    for (const part of ["process 1234", "0x7f", "age: "]) {
      assertStringIncludes(told, part);
    }
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowLeft");
    assert(await text(".told") !== told);
    for (const key of ["+", "PageDown"] as const) {
      const before = await picture();
      await page.keyboard.press(key);
      assert(await picture() !== before, key);
    }
    await page.keyboard.press("0");
    const whole = await picture();
    for (const label of ["Zoom in in time", "Zoom in in addresses"]) {
      await page.focus(`[aria-label='${label}']`);
      const before = await picture();
      await page.keyboard.press("Enter");
      assert(await picture() !== before, label);
    }
    await page.focus("canvas[tabindex]");
    await page.keyboard.press("0");
    assertEquals(await picture(), whole);

    // A chart: values under its cursor.
    const legend = "figure .legend";
    const last = await text(legend);
    await page.focus(".plot");
    for (let press = 0; press < 9; press++) {
      await page.keyboard.press("ArrowLeft");
    }
    assert(await text(legend) !== last);

    // A table: its order.
    const heading = "[aria-label=Mappings] th:first-child";
    await page.focus(`${heading} button`);
    const first = () => text("[aria-label=Mappings] td");
    const orders: string[] = [];
    for (let press = 0; press < 2; press++) {
      await page.keyboard.press("Enter");
      orders.push(
        `${await page.$eval(heading, (one) => one.ariaSort)} ${await first()}`,
      );
    }
    assert(orders[0].startsWith("ascending"), orders[0]);
    assert(orders[1].startsWith("descending"), orders[1]);
    assert(orders[0].split(" ")[1] !== orders[1].split(" ")[1]);

    // The pointer, or a finger, tells what is under it.
    const map = await page.$("canvas[tabindex]");
    await map?.scrollIntoView();
    const box = await map?.boundingBox();
    assert(box);
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 8];
    const touches = look.width < 600;
    await (touches ? page.touchscreen.tap(x, y) : page.mouse.move(x, y));
    assertEquals(
      await page.$eval(".tip", (one) => one.checkVisibility()),
      true,
    );
    const tip = await text(".tip");
    for (const part of ["process 1234", "0x7f", "in memory", "age: in use"]) {
      assertStringIncludes(tip, part);
    }
    assertEquals(noticed, []);
  }
});

Deno.test("a recording of one interval, of memory of which none could go, has a page", async () => {
  await using browser = await TestBrowser.start();
  for (const pages of [64, 0]) {
    using folder = new Folder();
    const file = await syntheticPage(folder, {
      pages,
      steps: 1,
      mappings: 1,
      nameLength: 1,
    });
    await using opened = await browser.open(file, LOOKS[0]);
    const { page, noticed } = opened;
    const maps = await page.$$eval(".map canvas", (all) => all.length);
    assertEquals(maps, pages === 0 ? 0 : 1);
    await assertAccessible(page);
    assertEquals(noticed, []);
  }
});

Deno.test("a drag, two fingers and a wheel zoom the map and the charts", async () => {
  using folder = new Folder();
  const file = await syntheticPage(folder, SOME);
  await using browser = await TestBrowser.start();
  for (const look of LOOKS.filter(({ scheme }) => scheme === "light")) {
    await using opened = await browser.open(file, look);
    const { page, noticed } = opened;
    const picture = () => pictureOf(page);
    const whole = await picture();
    /** Whether what is done shows less; then shows everything again. */
    const zooms = async (act: () => Promise<void>, name: string) => {
      await act();
      assert(await picture() !== whole, name);
      await page.$eval("[aria-label^='Everything']", (one) =>
        // The selector finds a button only.
        (one as HTMLButtonElement).click());
      await page.evaluate(() =>
        (document.activeElement as HTMLElement | null)?.blur() // It is one.
      );
      await page.mouse.move(0, 0);
      assertEquals(await picture(), whole, name);
    };
    for (
      const selector of ["canvas[tabindex]", "figure:first-of-type .u-over"]
    ) {
      const target = await page.$(selector);
      await target?.scrollIntoView();
      const box = await target?.boundingBox();
      assert(box);
      const { mouse } = page;
      const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
      if (look.width < 600) {
        await zooms(() => pinch(page, x, y), `two fingers on ${selector}`);
        assertEquals(await page.evaluate(() => visualViewport?.scale), 1);
      } else {
        await zooms(async () => {
          await mouse.move(x - 100, y - 50);
          await mouse.down();
          await mouse.move(x + 100, y + 50, { steps: 4 });
          await mouse.up();
        }, `a drag on ${selector}`);
      }
      await zooms(async () => {
        await mouse.move(x, y);
        await page.keyboard.down("Control");
        await mouse.wheel({ deltaY: -100 });
        await page.keyboard.up("Control");
        await page.waitForFunction(() => true, { polling: "raf" });
      }, `a wheel on ${selector}`);
    }
    assertEquals(noticed, []);
  }
});

Deno.test("in print, the map has its colours, dark or not, and tables are cut with a notice", async () => {
  await requirePrograms({ pdftoppm: "poppler-utils" });
  using folder = new Folder();
  // As many cells as a page may have.
  const file = await syntheticPage(folder, {
    pages: 65_536,
    steps: 720,
    mappings: 200,
    nameLength: 1,
  });
  await using browser = await TestBrowser.start();
  for (const scheme of ["light", "dark"] as const) {
    await using opened = await browser.open(file, { width: 1400, scheme });
    const pdf = folder.file(`${scheme}.pdf`);
    await opened.page.pdf({ path: pdf, format: "a4" });
    const pages = folder.file(scheme);
    await assertRuns("pdftoppm", ["-r", "36", pdf, pages]);
    const printed = [...Deno.readDirSync(folder.path)]
      .filter(({ name }) => name.startsWith(scheme) && name.endsWith(".ppm"));
    assert(
      printed.length >= 3 && printed.length <= 6,
      `${printed.length} pages`,
    );
    let [used, unused, dark, all] = [0, 0, 0, 0];
    for (const { name } of printed) {
      const bytes = Deno.readFileSync(folder.file(name));
      // P6, width, height, 255; then three bytes a pixel.
      for (let at = bytes.length % 3 + 15; at + 2 < bytes.length; at += 3) {
        const [red, green, blue] = bytes.subarray(at, at + 3);
        all++;
        if (red > 200 && green - blue > 40) used++;
        if (blue - red > 15 && red > 150) unused++;
        if (red + green + blue < 150) dark++;
      }
    }
    const heatShare = (used + unused) / all * printed.length;
    // A fifth of one page is the map, of which a quarter is in use.
    assert(heatShare > 0.15, `${used}, ${unused} of ${all} pixels`);
    assert(used / unused > 0.15 && used / unused < 0.6, `${used}, ${unused}`);
    assert(dark / all < 0.1, "a dark page");
    assertEquals(opened.noticed, []);
  }
});

/** Moves two fingers apart, across and down. */
async function pinch(page: Page, x: number, y: number): Promise<void> {
  const client = await page.createCDPSession();
  const touch = (type: "touchStart" | "touchMove" | "touchEnd", by?: number) =>
    client.send("Input.dispatchTouchEvent", {
      type,
      touchPoints: by === undefined ? [] : [
        { x: x - by, y: y - by, id: 0 },
        { x: x + by, y: y + by, id: 1 },
      ],
    });
  await touch("touchStart", 30);
  for (const by of [40, 50, 60, 70]) await touch("touchMove", by);
  await touch("touchEnd");
  await client.detach();
}
