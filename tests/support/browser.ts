/**
 * Pages in a real browser: Chromium without a screen, of Debian.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import axe from "axe-core/axe.min.js" with { type: "text" };
import puppeteer, { type Browser, type Page } from "puppeteer-core";
import { requirePrograms } from "./programs.ts";

/** How a page is looked at. */
export interface Look {
  /** In pixels; a phone has fewer than 600 and is touched. */
  readonly width: number;
  readonly scheme: "light" | "dark";
}

/** A page that is open, and what was noticed of it. */
export interface OpenPage extends AsyncDisposable {
  readonly page: Page;
  /** Every line on the console, error, and address that was asked for but the page's own. */
  readonly noticed: readonly string[];
}

/** A browser; closed by `await using`. */
export class TestBrowser implements AsyncDisposable {
  readonly #browser: Browser;

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async start(): Promise<TestBrowser> {
    await requirePrograms({ chromium: "chromium" });
    return new TestBrowser(
      await puppeteer.launch({
        executablePath: "/usr/bin/chromium",
        // Tests run as root, for whom Chromium has no sandbox; pages are our own.
        args: ["--no-sandbox", "--disable-gpu"],
        // Whoever started it ends it.
        handleSIGINT: false,
      }),
    );
  }

  /** Opens a file. */
  async open(path: string, { width, scheme }: Look): Promise<OpenPage> {
    const page = await this.#browser.newPage();
    const noticed: string[] = [];
    const url = `file://${path}`;
    page.on("console", (message) => noticed.push(message.text()));
    page.on("pageerror", (error) => noticed.push(String(error)));
    page.on("request", (request) => {
      if (request.url() !== url) noticed.push(request.url());
    });
    const isPhone = width < 600;
    await page.setViewport({
      width,
      height: 900,
      isMobile: isPhone,
      hasTouch: isPhone,
    });
    await page.emulateMediaFeatures([
      { name: "prefers-color-scheme", value: scheme },
    ]);
    await page.goto(url);
    return {
      page,
      noticed,
      [Symbol.asyncDispose]: () => page.close(),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
  }
}

/** Checks that axe finds nothing that people with disabilities could not use. */
export async function assertAccessible(page: Page): Promise<void> {
  // Not as an element, which the page's policy forbids.
  await page.evaluate(axe);
  const found = await page.evaluate(
    "axe.run().then(({ violations }) => violations.map(" +
      "({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html)}`))",
  );
  assertEquals(found, []);
}
