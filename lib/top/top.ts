/**
 * `rcap top` as a conversation: keys change what is shown, and figures come in meanwhile.
 *
 * @module
 */

import { messageOf, RcapError } from "../errors.ts";
import { quoteToml } from "../config/toml.ts";
import type { Clock } from "../platform/clock.ts";
import { ProcessError } from "../errors.ts";
import { exactSize, formatSize } from "../report/units.ts";
import { heatByAddress } from "./address_heat.ts";
import { type Figures, type Grouping, GROUPINGS } from "./figures.ts";
import type { Key } from "./keys.ts";
import { type Row, rowsOf, SORTS } from "./rows.ts";
import { describePlan, type ScanPlan } from "./scan_plan.ts";
import {
  type Display,
  drawList,
  drawProcess,
  drawText,
  legend,
  type ListView,
  type MappingView,
  roomFor,
} from "./view.ts";
import type { Printable } from "../report/escape.ts";
import type { WatchedProcess, Watcher } from "./watcher.ts";

/** Parts of a strip of heat that are counted. */
const PARTS = 256;
/** Mappings that are shown, the largest, and for how long, in milliseconds. */
const MOST_MAPPINGS = 1000;
const MAPPINGS_LIFE = 5000;
/** The seconds within which memory is hot. */
const HOT = 10;

export interface TopOptions {
  readonly by: Grouping;
  readonly watcher: Watcher;
  readonly clock: Clock;
  /** The current figures, those of the machine and of caps as well. */
  readonly figures: () => Figures;
  /** Called with another grouping. */
  readonly onGroup: (by: Grouping) => void;
  /** Sets a cap; `undefined` where no daemon runs. Returns a sentence. */
  readonly setCap: (name: string, bytes: number) => Promise<string>;
  /** Returns what a scan of some processes to a size, in bytes, would do. */
  readonly planScan: (
    processes: readonly WatchedProcess[],
    goal: { readonly name: string; readonly size: number },
  ) => Promise<ScanPlan>;
  /** @throws UsageError if the text is not a size. */
  readonly parseSize: (text: string) => number;
  /** Called when the screen has to be drawn anew. */
  readonly redraw: () => void;
}

/** A question on the last line. */
interface Question {
  readonly text: string;
  readonly answer: (text: string) => void;
  input: string;
  /** Whether each key is an answer, as for a filter. */
  readonly isLive?: boolean;
}

const HELP: readonly string[] = [
  "rcap top: who holds memory that nobody uses",
  "",
  "up down PgUp PgDn Home End, wheel   move",
  "Enter     open a process: its mappings, a strip of heat each",
  "/ F4      filter by name or pid; Escape shows all again",
  "> < F6    sort by the next column, or the one before",
  "r I       reverse the order",
  "t F5      processes as a tree",
  "g         group by the next: process, user, unit, cgroup, comm,",
  "          container, pod, cap",
  "f Space   freeze the screen; observation goes on",
  "c         set the cap of the daemon that the row is under",
  "s         a dry run of a scan to a size; pages nothing out",
  "? h F1    this help",
  "q F10     quit",
  "",
  "USED1M    used within the last minute; - until a minute was observed;",
  "          < if some of it could not be judged yet within the budget",
  "AGES      what can be paged out: in use, idle for 10 s, 1, 10 min, 1 h",
  "FAULT/s   page faults a second that waited for a disk or swap",
  "CAP       of a running daemon, and how much of it is taken; ! if over",
];

/** The state of the conversation. */
export class Top {
  readonly #options: TopOptions;
  #view: Omit<ListView, "rows">;
  #frozen: Figures | undefined;
  #rows: Row[] = [];
  #selectedKey: string | undefined;
  #question: Question | undefined;
  #text: readonly string[] | undefined;
  #open: Opened | undefined;
  #message: string | undefined;
  #height = 24;
  isOver = false;

  constructor(options: TopOptions) {
    this.#options = options;
    this.#view = {
      by: options.by,
      sort: "idle",
      isReversed: false,
      filter: "",
      tree: false,
      first: 0,
      selected: 0,
      isFrozen: false,
      message: undefined,
    };
  }

  /** Draws what is to be shown now. */
  draw(display: Display): Printable[] {
    this.#height = display.height;
    const figures = this.#frozen ?? this.#options.figures();
    this.#update(figures);
    const message = this.#question
      ? `${this.#question.text}${this.#question.input}_`
      : this.#message;
    if (this.#text) {
      const above = this.#text === HELP
        ? ["", `AGES      ${legend(display)}`]
        : [];
      return drawText(
        [...this.#text, ...above],
        { message: message ?? "any key: back" },
        display,
      );
    }
    if (this.#open) {
      const row = this.#rowOf(figures, this.#open.key);
      const { process, mappings, first } = this.#open;
      if (row) {
        if (!this.#frozen) this.#readMappings(this.#open, process);
        return drawProcess(row, { mappings, first, message }, display);
      }
      this.#open = undefined;
      this.#message = "the process has ended";
    }
    return drawList(figures, {
      ...this.#view,
      rows: this.#rows,
      message: this.#question ? message : this.#message,
    }, display);
  }

  #rowOf(figures: Figures, key: string): Row | undefined {
    return rowsOf(figures, {
      ...this.#view,
      by: "process",
      filter: "",
      tree: false,
    }).find((row) => row.key === key);
  }

  #update(figures: Figures): void {
    this.#rows = rowsOf(figures, this.#view);
    const at = this.#rows.findIndex(({ key }) => key === this.#selectedKey);
    // The selection stays with its process wherever that goes, once the user has moved it.
    this.#select(at >= 0 ? at : this.#view.selected, at >= 0);
  }

  #select(at: number, isKept = false): void {
    const room = roomFor({ height: this.#height });
    const selected = Math.max(0, Math.min(at, this.#rows.length - 1));
    const first = Math.max(
      0,
      Math.min(this.#view.first, selected),
      selected - room + 1,
    );
    this.#view = { ...this.#view, selected, first };
    if (isKept) this.#selectedKey = this.#rows[selected]?.key;
  }

  /** Takes a key. */
  take(key: Key): void {
    this.#message = undefined;
    if (this.#question) this.#answer(this.#question, key);
    else if (this.#text) this.#text = undefined;
    else if (this.#open) this.#takeInProcess(this.#open, key);
    else this.#takeInList(key);
    this.#options.redraw();
  }

  #takeInProcess(open: Opened, key: Key): void {
    const steps: Readonly<Record<Key, number>> = {
      up: -1,
      down: 1,
      wheelup: -3,
      wheeldown: 3,
      pageup: -10,
      pagedown: 10,
      home: -Infinity,
      k: -1,
      j: 1,
    };
    if (key in steps) {
      const last = Math.max(0, (open.mappings?.length ?? 0) - 1);
      open.first = Math.max(0, Math.min(open.first + steps[key], last));
    } else if (key === "end") {
      open.first = Math.max(0, (open.mappings?.length ?? 0) - 5);
    } else if (["escape", "enter", "left", "backspace"].includes(key)) {
      this.#open = undefined;
    } else if (key === "q" || key === "f10") this.isOver = true;
    else if (key === "s") this.#askSize();
    else if (key === "?" || key === "h" || key === "f1") this.#text = HELP;
    else if (key === "f" || key === " ") this.#freeze();
  }

  #takeInList(key: Key): void {
    const room = roomFor({ height: this.#height });
    const { selected } = this.#view;
    switch (key) {
      case "up":
      case "k":
        return this.#select(selected - 1, true);
      case "down":
      case "j":
        return this.#select(selected + 1, true);
      case "wheelup":
        return this.#select(selected - 3, true);
      case "wheeldown":
        return this.#select(selected + 3, true);
      case "pageup":
        return this.#select(selected - room, true);
      case "pagedown":
        return this.#select(selected + room, true);
      case "home":
        this.#select(0);
        this.#selectedKey = undefined;
        return;
      case "end":
        return this.#select(this.#rows.length - 1, true);
      case "enter":
      case "right":
        return this.#enter();
      case "/":
      case "f4":
        return this.#ask({
          text: "filter: ",
          input: this.#view.filter,
          isLive: true,
          answer: (filter) => this.#view = { ...this.#view, filter },
        });
      case "escape":
        this.#view = { ...this.#view, filter: "" };
        return;
      case ">":
      case "f6":
        return this.#sort(1);
      case "<":
        return this.#sort(-1);
      case "r":
      case "I":
        this.#view = {
          ...this.#view,
          isReversed: !this.#view.isReversed,
        };
        return;
      case "t":
      case "f5":
        this.#view = { ...this.#view, tree: !this.#view.tree };
        if (this.#view.tree && this.#view.by !== "process") {
          this.#message = "groups have no tree; g groups by process again";
        }
        return;
      case "g":
        return this.#group();
      case "f":
      case " ":
        return this.#freeze();
      case "c":
        return this.#askCap();
      case "s":
        return this.#askSize();
      case "?":
      case "h":
      case "f1":
        this.#text = HELP;
        return;
      case "q":
      case "f10":
        this.isOver = true;
    }
  }

  #sort(step: number): void {
    const at = SORTS.indexOf(this.#view.sort) + step + SORTS.length;
    this.#view = { ...this.#view, sort: SORTS[at % SORTS.length] };
    this.#message = `sorted by ${this.#view.sort}`;
  }

  #group(): void {
    const at = GROUPINGS.indexOf(this.#view.by) + 1;
    const by = GROUPINGS[at % GROUPINGS.length];
    this.#view = { ...this.#view, by, selected: 0, first: 0 };
    this.#selectedKey = undefined;
    this.#frozen = undefined;
    this.#view = { ...this.#view, isFrozen: false };
    this.#message = `grouped by ${by}`;
    this.#options.onGroup(by);
  }

  #freeze(): void {
    this.#frozen = this.#frozen ? undefined : this.#options.figures();
    this.#view = { ...this.#view, isFrozen: this.#frozen !== undefined };
  }

  #enter(): void {
    const row = this.#rows[this.#view.selected];
    if (!row) return;
    if (!row.process) {
      this.#message = "Enter opens a process; press g until rows are processes";
      return;
    }
    const process = this.#options.watcher.process(row.process.pid);
    if (!process) {
      this.#message = `process ${row.process.pid} has ended`;
      return;
    }
    this.#open = {
      key: row.key,
      process,
      mappings: undefined,
      first: 0,
      readAt: -Infinity,
    };
  }

  /** Reads the mappings of the open process, at most every few seconds. */
  #readMappings(open: Opened, { memory, ages }: WatchedProcess): void {
    const now = this.#options.clock.now();
    if (now - open.readAt < MAPPINGS_LIFE) return;
    open.readAt = now;
    memory.readMappings("inspect").then((mappings) => {
      open.mappings = mappings.filter(({ rss }) => rss > 0)
        .sort((a, b) => b.rss - a.rss).slice(0, MOST_MAPPINGS)
        .map((mapping): MappingView => ({
          start: mapping.start,
          perm: mapping.perm,
          name: mapping.name,
          rss: mapping.rss,
          heat: ages
            ? heatByAddress(ages, mapping, { seconds: HOT, parts: PARTS })
            : null,
        }));
    }).catch((error) => {
      if (!(error instanceof ProcessError)) throw error;
      this.#message = messageOf(error);
      open.mappings ??= [];
    }).finally(this.#options.redraw);
  }

  #ask(question: Question): void {
    this.#question = question;
  }

  #answer(question: Question, key: Key): void {
    if (key === "escape") {
      this.#question = undefined;
      if (question.isLive) question.answer("");
      return;
    }
    if (key === "enter") {
      this.#question = undefined;
      question.answer(question.input.trim());
      return;
    }
    if (key === "backspace") {
      question.input = [...question.input].slice(0, -1).join("");
    } else if (key === "ctrl-u") question.input = "";
    else if ([...key].length === 1 && question.input.length < 64) {
      question.input += key;
    }
    if (question.isLive) question.answer(question.input);
  }

  #askCap(): void {
    const cap = this.#rows[this.#view.selected]?.cap;
    if (!cap) {
      this.#message = this.#options.figures().caps.length === 0
        ? "no daemon with caps is seen; rcap run starts one"
        : "this row is not under one cap; press g until rows are caps";
      return;
    }
    this.#ask({
      text: `cap of ${cap.name} (now ${
        cap.cap === null ? "none" : formatSize(cap.cap)
      }): `,
      input: "",
      answer: (text) => {
        if (text === "") return;
        this.#try(async () => {
          const bytes = this.#options.parseSize(text);
          this.#message = `setting the cap of ${cap.name}...`;
          const said = await this.#options.setCap(cap.name, bytes);
          this.#message = undefined;
          this.#text = [
            said,
            "",
            "The cap lasts until the daemon ends, or rcap set changes it. To keep it,",
            "change it in the configuration of the daemon:",
            "",
            "[[cap]]",
            `name = ${quoteToml(cap.name)}`,
            `max_rss = ${quoteToml(exactSize(bytes))}`,
          ];
        });
      },
    });
  }

  #askSize(): void {
    const row = this.#open
      ? this.#rowOf(this.#options.figures(), this.#open.key)
      : this.#rows[this.#view.selected];
    if (!row) return;
    this.#ask({
      text: `a scan of ${row.name} to which size? `,
      input: "",
      answer: (text) => {
        if (text === "") return;
        this.#try(async () => {
          const size = this.#options.parseSize(text);
          this.#message = "planning the scan...";
          const { processes } = this.#options.figures();
          const pids = processes.filter(({ group }) =>
            row.process === undefined && group === row.name
          ).map(({ pid }) => pid);
          if (row.process) pids.push(row.process.pid);
          const plan = await this.#options.planScan(
            pids.flatMap((pid) => this.#options.watcher.process(pid) ?? []),
            { name: row.name, size },
          );
          this.#message = undefined;
          this.#text = describePlan(plan);
        });
      },
    });
  }

  /** Does what may fail; an error for users is the message. */
  #try(step: () => Promise<void>): void {
    step().catch((error) => {
      if (!(error instanceof RcapError)) throw error;
      this.#message = messageOf(error);
    }).finally(this.#options.redraw);
  }
}

/** The process that is open. */
interface Opened {
  readonly key: string;
  readonly process: WatchedProcess;
  mappings: readonly MappingView[] | undefined;
  first: number;
  readAt: number;
}
