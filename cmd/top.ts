/**
 * `rcap top`: a live view of who holds memory that nobody uses.
 *
 * @module
 */

import { Command, Option } from "@commander-js/extra-typings";
import { selectorHelp } from "../lib/collection/selectors.ts";
import { configPaths } from "../lib/config/config_files.ts";
import { parseCapSize } from "../lib/config/cap_size.ts";
import { messageOf, NotKnown, RcapError, UsageError } from "../lib/errors.ts";
import { groupsBy } from "../lib/oneshot/size_groups.ts";
import { systemClock } from "../lib/platform/clock.ts";
import { hideProgress, Log } from "../lib/platform/output.ts";
import type { Platform, ProcessEntry } from "../lib/platform/platform.ts";
import {
  isInteractive,
  Screen,
  terminalAbilities,
} from "../lib/platform/terminal.ts";
import { json, printable } from "../lib/report/escape.ts";
import { formatSize, parseDuration } from "../lib/report/units.ts";
import { setCap } from "../lib/service/control.ts";
import { Caps } from "../lib/top/caps.ts";
import { type Figures, type Grouping, GROUPINGS } from "../lib/top/figures.ts";
import { KeyParser } from "../lib/top/keys.ts";
import { rowsOf } from "../lib/top/rows.ts";
import { Top } from "../lib/top/top.ts";
import { planScan } from "../lib/top/scan_plan.ts";
import { topReport } from "../lib/top/report.ts";
import { drawList } from "../lib/top/view.ts";
import { type Belonging, Watcher } from "../lib/top/watcher.ts";
import { exitStatusHelp } from "./exit_status.ts";
import {
  configOption,
  type Context,
  observing,
  pagedataOption,
  selectorsOf,
  stateDirectoryOption,
  totalMemory,
} from "./options.ts";
import { jsonOption } from "./result.ts";

/** Between two looks at sizes, in milliseconds. */
const LOOK = 1000;
/** How long an escape may wait for the rest of a key, in milliseconds. */
const ESCAPE = 50;
/** The name of what is under no cap. */
const NO_CAP = "-";

function help(context: Context): string {
  return `
Keys: arrows, PgUp, PgDn, Home, End, mouse wheel; Enter opens a process; /
filter; > < sort; r reverse; t tree; g group by; f freeze; c set a cap; s a dry
run of a scan to a size; ? help; q quit. Ctrl-Z stops it.

Selectors (the whole machine without one):
${
    selectorHelp(context.system)
      .map(([form, what]) => `  ${form.padEnd(14)} ${what}`).join("\n")
  }

Columns:
  USED1M     used within the last minute; - until a minute was observed, < if
             some of it could not be judged yet within the budget
  AGES       a bar of what can be paged out: in use, and idle for 10 s, 1 min,
             10 min, 1 h or longer
  FAULT/s    page faults a second that waited for a disk or swap
  CAP        of a running daemon, and how much of it is taken

Observing costs a process at most 1 % of its time. What a daemon observes
already is read through the daemon. --once prints one screen after --observe,
or with --json one object for scripts; it needs no terminal.

${
    exitStatusHelp({
      done: true,
      failed: true,
      usage: "wrong usage, or no terminal that can show it",
      incapable: true,
      noProcess: true,
      SIGINT: true,
    })
  }

Examples:
  rcap top
  rcap top --by unit
  rcap top user:alice --by comm
  rcap top --once --json --observe 10s`;
}

/** The command. */
export function topCommand(context: Context) {
  const { system } = context;
  return new Command("top")
    .description(
      "Shows live which processes hold memory that nobody uses. Pages nothing out.",
    )
    .argument("[selector...]", "the processes")
    .addOption(
      new Option("--by <what>", "a row for each of these").choices(GROUPINGS)
        .default("process" as const),
    )
    .option("--once", "print one screen, and end", false)
    .addOption(jsonOption)
    .addOption(
      new Option("--observe <duration>", "how long --once watches")
        .default(2000, "2s")
        .argParser((text) =>
          parseDuration(text, "--observe", { least: 1000, most: 86_400_000 })
        ),
    )
    .addOption(configOption)
    .addOption(stateDirectoryOption(system))
    .addOption(pagedataOption(system))
    .addHelpText("after", help(context))
    .action(async (texts, options) => {
      const { signal, log } = context;
      const abilities = terminalAbilities((name) => Deno.env.get(name));
      if (options.json && !options.once) {
        throw new UsageError(
          "--json needs --once",
          "write rcap top --once --json",
        );
      }
      if (!options.once) requireScreen(abilities.isDumb);
      const selectors = texts.length === 0
        ? []
        : await selectorsOf(texts, context);
      const notices: string[] = [];
      const notice = (message: string) => {
        if (!notices.includes(message)) notices.push(message);
      };
      // Messages would spoil the screen: they are on it.
      const quiet = options.once ? log : new Log("info", {
        write: (line) =>
          notice(line.trimEnd().replace(/^rcap: (?:warning: )?/, "")),
      });
      const observe = options.once ? options.observe : Infinity;
      await observing(
        { observe, pagedata: options.pagedata, patience: 0 },
        { system, log: quiet, signal },
        async ({ platform, rights }) => {
          const caps = new Caps({
            system,
            signal,
            stateDirectory: options.stateDir,
            config: configPaths(options.config),
            warn: notice,
          });
          await caps.read();
          let by: Grouping = options.by;
          const ending = new AbortController();
          const watcher = new Watcher({
            selectors,
            platform,
            rights,
            signal: AbortSignal.any([signal, ending.signal]),
            warn: notice,
            groupOf: async (entry, all) => {
              const cap = await caps.of(entry, all, platform);
              return { cap, group: groupOf(entry, by, cap, platform) };
            },
          });
          const noCaps =
            `no caps are known, since no daemon is known to run with ${options.stateDir}`;
          const figures = (): Figures =>
            figuresOf(watcher, {
              platform,
              caps,
              notices: by === "cap" && !caps.state
                ? [...notices, noCaps]
                : notices,
            });
          await watcher.sample();
          const running = watcher.run();
          try {
            if (options.once) {
              await Promise.race([
                systemClock.sleep(options.observe, signal),
                running,
              ]);
              signal.throwIfAborted();
              await watcher.sample();
              // The last reading may still go on.
              ending.abort();
              await running;
              await watcher.readAll();
              const view = {
                by,
                sort: "idle" as const,
                isReversed: false,
                filter: "",
                tree: false,
              };
              const rows = rowsOf(figures(), view);
              if (options.json) {
                await context.print(json(topReport(figures(), rows, by)));
                return;
              }
              const lines = drawList(figures(), {
                ...view,
                rows,
                first: 0,
                selected: -1,
                isFrozen: false,
                message: "",
              }, {
                width: 100,
                height: rows.length + 6,
                color: context.color,
                unicode: abilities.unicode,
              });
              await context.print(
                printable(
                  lines.slice(0, -1).map((line) => `${line.trimEnd()}\n`)
                    .join(""),
                ),
              );
              return;
            }
            hideProgress();
            await converse(context, {
              unicode: abilities.unicode,
              running,
              look: async () => {
                await caps.read();
                await watcher.sample();
              },
              begin: (redraw) =>
                new Top({
                  by,
                  watcher,
                  clock: systemClock,
                  figures,
                  redraw,
                  onGroup: (chosen) => {
                    by = chosen;
                    watcher.regroup();
                    watcher.sample().then(redraw, () => {});
                  },
                  planScan: (processes, goal) =>
                    watcher.inTurn(() =>
                      planScan(processes, { ...goal, platform, signal })
                    ),
                  parseSize: (text) =>
                    parseCapSize(text, {
                      what: "SIZE",
                      totalMemory: () => totalMemory(system),
                    }),
                  setCap: async (name, bytes) => {
                    const { after } = await setCap(
                      { system, directory: options.stateDir },
                      name,
                      bytes,
                    );
                    await caps.read();
                    return `${name}: the cap is ${
                      formatSize(after.cap ?? bytes)
                    } now; ${formatSize(after.rss)} resident`;
                  },
                }),
            });
          } finally {
            ending.abort();
            running.catch(() => {});
          }
        },
      );
    });
}

/** @throws UsageError if there is no terminal that can show a screen. */
function requireScreen(isDumb: boolean): void {
  if (!isInteractive()) {
    throw new UsageError(
      "rcap top needs a terminal as standard input and output",
      "for scripts there is rcap top --once --json",
    );
  }
  if (isDumb) {
    throw new UsageError(
      `the terminal cannot show a screen: TERM is "${
        Deno.env.get("TERM") ?? ""
      }"`,
      "set TERM to the terminal's type, or use rcap top --once",
    );
  }
}

/** Shows the screen until the user ends it. */
async function converse(
  { signal, color, cleanUpWhenOverdue }: Context,
  { unicode, running, look, begin }: {
    unicode: boolean;
    running: Promise<void>;
    look: () => Promise<void>;
    begin: (redraw: () => void) => Top;
  },
): Promise<void> {
  let wake = () => {};
  const redraw = () => wake();
  await using screen = new Screen(redraw);
  cleanUpWhenOverdue(() => {
    screen.leave();
    return undefined;
  });
  const failed = Promise.withResolvers<never>();
  const fail = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    failed.reject(event.reason);
  };
  addEventListener("unhandledrejection", fail);
  using _listening = {
    [Symbol.dispose]: () => removeEventListener("unhandledrejection", fail),
  };
  running.catch(failed.reject);
  const top = begin(redraw);
  const parser = new KeyParser();
  (async () => {
    for await (const bytes of screen.input()) {
      for (const key of parser.take(bytes)) takeKey(key);
      if (parser.isWaiting) {
        setTimeout(() => {
          for (const key of parser.flush()) takeKey(key);
        }, ESCAPE);
      }
    }
    // The terminal is gone.
    top.isOver = true;
    redraw();
  })().catch(failed.reject);
  function takeKey(key: string) {
    if (key === "redraw") screen.forget();
    top.take(key);
  }
  const looking = setInterval(() => {
    look().then(redraw, failed.reject);
  }, LOOK);
  signal.addEventListener("abort", () => wake());
  try {
    for (;;) {
      const woken = new Promise<void>((resolve) => wake = resolve);
      signal.throwIfAborted();
      if (top.isOver) return;
      const display = { ...screen.size, color, unicode };
      await Promise.race([
        screen.draw(top.draw(display), display),
        failed.promise,
      ]);
      await Promise.race([woken, failed.promise]);
    }
  } finally {
    clearInterval(looking);
  }
}

function groupOf(
  entry: ProcessEntry,
  by: Grouping,
  cap: Belonging["cap"],
  platform: Platform,
): string {
  if (by === "process") return "";
  if (by === "cap") return cap ?? NO_CAP;
  try {
    return groupsBy(by, platform)(entry) ?? NO_CAP;
  } catch (error) {
    if (!(error instanceof NotKnown)) throw error;
    return NO_CAP;
  }
}

function figuresOf(
  watcher: Watcher,
  { platform, caps, notices }: {
    platform: Platform;
    caps: Caps;
    notices: readonly string[];
  },
): Figures {
  const { totalMemory, availableMemory, totalSwap, freeSwap } = platform
    .memory();
  const processes = watcher.figures;
  const failed = processes.filter(({ error }) => error !== undefined);
  return {
    machine: {
      total: totalMemory,
      available: availableMemory,
      totalSwap,
      freeSwap,
      memoryOfSwap: platform.memoryOfSwap?.() ?? null,
      pressure: pressureOf(platform),
    },
    processes,
    caps: caps.state?.groups ?? [],
    seconds: watcher.seconds,
    notices: failed.length === 0 ? notices : [
      ...notices,
      `${failed.length} of ${processes.length} processes are not observed: ${
        failed[0].error
      }`,
    ],
  };
}

function pressureOf(platform: Platform): number | null {
  try {
    return platform.memoryPressure?.() ?? null;
  } catch (error) {
    throw new RcapError(`pressure cannot be read: ${messageOf(error)}`);
  }
}
