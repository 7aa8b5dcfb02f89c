/**
 * Tests of the page of `rcap report --html`, of a live process and of one whose names are
 * markup, in a real browser.
 *
 * @module
 */

/// <reference lib="dom" />

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { writeSynthetic } from "../../lib/oneshot/recording_page/testing.ts";
import type { RecordingReport } from "../../lib/oneshot/recording_report.ts";
import { describeRecording } from "../../lib/oneshot/recording_text.ts";
import { formatSize } from "../../lib/report/units.ts";
import {
  assertAccessible,
  type Look,
  TestBrowser,
} from "../support/browser.ts";
import { CProcess } from "../support/c_program.ts";
import { requireRoot } from "../support/live.ts";
import { rcap, rcapJson } from "../support/rcap.ts";

requireRoot();

// Opened before the first test, which would otherwise appear to leak it.
libc();

const LOOKS: readonly Look[] = [400, 1400].flatMap((width) =>
  (["light", "dark"] as const).map((scheme) => ({ width, scheme }))
);

/** A directory of its own, removed at the end. */
class Folder implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "rcap-" });

  file(name: string): string {
    return `${this.path}/${name}`;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** Makes the page of a recording; returns its path. */
async function pageOf(recording: string): Promise<string> {
  const page = `${recording}.html`;
  const { code, stderr } = await rcap(["report", recording, "--html", page]);
  assertEquals(code, 0, stderr);
  return page;
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
        `${pid}`,
        start,
        ...[pageable, workingSet, neverUsed].map(formatSize),
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
    const [, size, pageable, workingSet, used] = await texts(
      "figure:first-of-type .legend b",
    );
    assertEquals(
      [size, pageable, workingSet, used],
      [last.size, last.pageable, last.workingSet, last.used].map(formatSize),
    );
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
  const recording = folder.file("one.rcap");
  writeSynthetic(recording, {
    ...{ pages: 4096, steps: 60, mappings: 6, nameLength: 1 },
  });
  const file = await pageOf(recording);
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
    const picture = () =>
      page.$eval("canvas[tabindex]", (one) =>
        // The selector finds a canvas only.
        (one as HTMLCanvasElement).toDataURL());
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
    assertStringIncludes(await text(".tip"), "in memory");
    assertEquals(noticed, []);
  }
});
