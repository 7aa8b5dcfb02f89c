/**
 * Makes the pictures of the documentation, `docs/pictures`, anew: demo processes run, rcap
 * watches them in a terminal, and a browser draws what the terminal shows, and the page of
 * `rcap report --html`. Takes about five minutes.
 *
 * Needs root. The pictures show the demo processes only, which are chosen by pid.
 *
 * @module
 */

/// <reference lib="dom" />

import xterm from "@xterm/xterm/lib/xterm.js" with { type: "text" };
import xtermStyle from "@xterm/xterm/css/xterm.css" with { type: "text" };
import { stripAnsiCode } from "@std/fmt/colors";
import { embedded } from "../lib/oneshot/recording_page/page.ts";
import { TestBrowser } from "../tests/support/browser.ts";
import { requirePrograms } from "../tests/support/programs.ts";
import { commandLine } from "../tests/support/rcap.ts";
import { say } from "../tests/support/say.ts";
import { Terminal } from "../tests/support/tmux.ts";
import { Workload } from "../tests/support/workload.ts";

const MIB = 2 ** 20;
const PICTURES = new URL("../docs/pictures/", import.meta.url).pathname;

/** The most bytes of a picture. */
const MOST_BYTES = 200_000;

/** How long is recorded, in seconds. */
const RECORDED = 240;
/** A round of the shop over its catalogue, in parts of a second each. */
const PARTS = 48;

/** A service: memory in use, and memory that is not. Sizes in MiB. */
const SERVICES = [
  { name: "shop", hot: 24, warm: 48, cold: 120 },
  { name: "search", hot: 40, warm: 0, cold: 60 },
  { name: "mail", hot: 8, warm: 0, cold: 96 },
  { name: "reports", hot: 0, warm: 0, cold: 160 },
  { name: "queue", hot: 20, warm: 0, cold: 4 },
];

await using cleanup = new AsyncDisposableStack();
Deno.addSignalListener("SIGINT", async () => {
  await cleanup.disposeAsync();
  Deno.exit(130);
});
await requirePrograms({ tmux: "tmux", chromium: "chromium" });
const folder = await Deno.makeTempDir({
  dir: "/var/tmp",
  prefix: "rcap-pictures-",
});
cleanup.defer(() => Deno.remove(folder, { recursive: true }));
const browser = cleanup.use(await TestBrowser.start());
const [shop, ...others] = await Promise.all(SERVICES.map(serve));
const rounds = cleanup.use(useInRounds(shop, RECORDED));

say(`Recording for ${RECORDED} s …`);
const recorder = cleanup.use(terminalOf());
runRcap(recorder, [
  ...["record", "comm:shop", "-o", "shop.rcap"],
  ...["--for", `${RECORDED}s`, "--every", "3s"],
]);
const viewer = cleanup.use(terminalOf({ height: 12 }));
runRcap(viewer, ["top", ...others.map(({ pid }) => `${pid}`)]);
await seconds(RECORDED - 20);
await draw("top", viewer.screen({ colors: true }));
viewer.press("Down", "Down", "Enter");
await viewer.shows(/process \d+ \(search\)[^]*[▂▃▄▅▆▇█]/);
await seconds(2);
await draw("top-process", viewer.screen({ colors: true }));
viewer.press("q");
await recorder.shows(/nothing was paged out/);
rounds.stop();

await drawCommand("report", ["report", "shop.rcap"], { height: 100 });
await drawCommand("size", ["size", "--from", "shop.rcap"], {
  width: 160,
});
await drawPage();

/** Starts a service. */
async function serve(
  { name, hot, warm, cold }: typeof SERVICES[number],
): Promise<Workload> {
  const service = cleanup.use(await Workload.start({ name }));
  await service.small();
  for (const [part, size] of Object.entries({ cold, warm, hot })) {
    if (size > 0) await service.anon(part, size * MIB);
  }
  if (hot > 0) await service.hot("hot");
  return service;
}

/** Uses the warm memory of a service part by part, again and again, in the background. */
function useInRounds(service: Workload, most: number) {
  let isOver = false;
  const running = (async () => {
    for (let second = 0; second < most && !isOver; second++) {
      const offset = second % PARTS * MIB;
      await service.hot("warm", { offset, size: MIB });
      await seconds(1);
      await service.cold("warm");
    }
  })();
  const stop = () => {
    isOver = true;
  };
  return {
    stop,
    async [Symbol.asyncDispose]() {
      stop();
      await running;
    },
  };
}

/** A terminal in the folder of the recording. */
function terminalOf({ width = 100, height = 30 } = {}): Terminal {
  const terminal = new Terminal({ width, height });
  terminal.run(`cd ${folder}; clear`);
  return terminal;
}

/** Types a command line of rcap, which the screen does not show any more when it runs. */
function runRcap(terminal: Terminal, args: string[]): void {
  const { command, commandArgs } = commandLine(args);
  const words = [command, ...commandArgs].map((word) => `'${word}'`);
  terminal.run(`clear; ${words.join(" ")}`);
}

/** Draws what a command prints. */
async function drawCommand(
  name: string,
  args: string[],
  size: { width?: number; height?: number },
): Promise<void> {
  using terminal = terminalOf(size);
  runRcap(terminal, args);
  const end = /\n[^\n]+\nready>\s*$/;
  await terminal.shows(end);
  const screen = terminal.screen({ colors: true });
  const last = screen.findLastIndex((line) => line.includes("ready>"));
  await draw(name, [`$ rcap ${args.join(" ")}`, ...screen.slice(0, last)]);
}

/** Draws lines of a terminal, with their escape sequences. */
async function draw(name: string, screen: string[]): Promise<void> {
  const lines = screen.slice(
    0,
    screen.findLastIndex((line) => line.trim() !== "") + 1,
  );
  const html = `${folder}/${name}.html`;
  const options = {
    cols: 1 + Math.max(...lines.map((line) => [...stripAnsiCode(line)].length)),
    rows: lines.length,
    fontFamily: "'DejaVu Sans Mono', monospace",
    fontSize: 13,
    cursorInactiveStyle: "none",
    theme: {
      ...{ background: "#11161d", foreground: "#e8edf4" },
      ...{ red: "#e5604d", green: "#5fb070", yellow: "#d3a04a" },
    },
  };
  Deno.writeTextFileSync(
    html,
    `<!doctype html><meta charset="utf-8"><style>${xtermStyle}
      body { margin: 0; background: #11161d }
      #place { display: inline-block; padding: 12px }
      .xterm-viewport, .scrollbar { display: none }
    </style><div id="place"></div><script>${xterm}</script>
    <script>
      const terminal = new Terminal(${JSON.stringify(options)});
      terminal.open(document.getElementById("place"));
      terminal.write(${
      embedded(lines.join("\r\n"))
    }, () => document.title = "drawn");
    </script>`,
  );
  await using opened = await browser.open(html, {
    width: 1000,
    scheme: "dark",
  });
  const { page } = opened;
  await page.waitForFunction(() => document.title === "drawn");
  await page.evaluate(() => document.fonts.ready);
  await seconds(0.3);
  const place = await page.$("#place");
  await keep(name, await place?.screenshot());
}

/** Draws the page of the recording: the first screens of it, wide and narrow. */
async function drawPage(): Promise<void> {
  const html = `${folder}/shop.html`;
  using terminal = terminalOf();
  runRcap(terminal, ["report", "shop.rcap", "--html", "shop.html"]);
  await terminal.shows(/opened with a browser/);
  for (
    const { name, width, from, height, scheme } of [
      {
        name: "page",
        width: 1100,
        from: "html",
        height: 1500,
        scheme: "light",
      },
      {
        name: "page-phone",
        width: 400,
        from: "h2#heat-map",
        height: 880,
        scheme: "dark",
      },
    ] as const
  ) {
    await using opened = await browser.open(html, { width, scheme });
    const { page } = opened;
    // Points at what is used by turns, in the middle of the time.
    const map = await page.$(".map canvas");
    await map?.scrollIntoView();
    const box = await map?.boundingBox();
    if (!box) throw new Error("the page has no map");
    await page.mouse.move(box.x + box.width / 2, box.y + box.height * 0.7);
    const top = await page.$eval(
      from,
      (one) => one.getBoundingClientRect().top + scrollY,
    );
    const y = Math.max(0, top - 16);
    const clip = { x: 0, y, width, height };
    await keep(name, await page.screenshot({ clip }));
  }
}

/** Writes a picture. */
async function keep(
  name: string,
  bytes: Uint8Array | undefined,
): Promise<void> {
  if (!bytes) throw new Error(`${name} was not drawn`);
  if (bytes.length > MOST_BYTES) {
    throw new Error(`${name} has ${bytes.length} bytes`);
  }
  await Deno.mkdir(PICTURES, { recursive: true });
  await Deno.writeFile(`${PICTURES}${name}.png`, bytes);
  say(`docs/pictures/${name}.png: ${bytes.length} bytes`);
}

function seconds(time: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, time * 1000));
}
