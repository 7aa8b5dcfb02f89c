/**
 * Tells the service manager how the daemon is doing: the protocol of
 * `sd_notify(3)` and `sd_watchdog_enabled(3)`.
 *
 * @module
 */

import { SystemError } from "../errors.ts";
import type { Systemd } from "../platform/operating_system.ts";
import { escapeLine } from "../report/escape.ts";

/** The environment variables by which a service manager says where and how. */
export const NOTIFY_ENVIRONMENT = [
  "NOTIFY_SOCKET",
  "WATCHDOG_USEC",
  "WATCHDOG_PID",
] as const;

/** How soon to try again what the service manager had no room for, in milliseconds. */
const RETRY_MS = 50;

/** How many messages wait for room at most. */
const MOST_WAITING = 64;

/** The longest timer there is, in milliseconds; it makes longer ones short. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** What a notifier needs of its surroundings. */
export interface NotifierOptions {
  /** The way to the service manager; nothing is said where the system has none. */
  systemd: Pick<Systemd, "notifySocket" | "monotonicMicroseconds"> | undefined;
  /** Reads an environment variable. */
  env?: (name: typeof NOTIFY_ENVIRONMENT[number]) => string | undefined;
  /** Is told, once, when nothing can be sent. */
  warn?: (message: string) => void;
}

/**
 * Tells the service manager about the daemon; says nothing where there is none.
 * Nothing here throws or waits: a daemon does not end because its service manager
 * has gone.
 *
 * @example
 * ```ts
 * using notifier = Notifier.fromEnvironment({ systemd: system.systemd });
 * notifier.ready("watching 3 groups");
 * if (notifier.watchdogInterval !== undefined) {
 *   setInterval(() => notifier.watchdog(), notifier.watchdogInterval);
 * }
 * ```
 */
export class Notifier implements Disposable {
  /**
   * How often to call {@linkcode watchdog}, in milliseconds: twice as often as the
   * service manager wants. `undefined` when it does not want it from this process.
   */
  readonly watchdogInterval: number | undefined;
  readonly #warn: (message: string) => void;
  readonly #systemd: NotifierOptions["systemd"];
  #socket: ReturnType<Systemd["notifySocket"]> | undefined;
  #waiting: string[] = [];
  #retry: ReturnType<typeof setTimeout> | undefined;

  private constructor(
    address: string | undefined,
    { watchdogInterval, systemd, warn }: {
      watchdogInterval: number | undefined;
      systemd: NotifierOptions["systemd"];
      warn: (message: string) => void;
    },
  ) {
    this.#systemd = systemd;
    this.#warn = warn;
    if (!address || !systemd) return;
    this.watchdogInterval = watchdogInterval;
    this.#guarded(() => this.#socket = systemd.notifySocket(address));
  }

  /** A notifier for the service manager that started this process, if one did. */
  static fromEnvironment(
    { systemd, env = (name) => Deno.env.get(name), warn = () => {} }:
      NotifierOptions,
  ): Notifier {
    return new Notifier(env("NOTIFY_SOCKET"), {
      watchdogInterval: watchdogInterval(
        env("WATCHDOG_USEC"),
        env("WATCHDOG_PID"),
      ),
      systemd,
      warn,
    });
  }

  /** Start-up, or a reload, is over. */
  ready(status?: string): void {
    this.#send(["READY=1", ...statusLine(status)]);
  }

  /** A reload has begun; {@linkcode ready} says that it is over, successful or not. */
  reloading(): void {
    if (!this.#systemd) return;
    const now = this.#systemd.monotonicMicroseconds();
    this.#send(["RELOADING=1", `MONOTONIC_USEC=${now}`]);
  }

  /** The daemon is about to end. */
  stopping(status?: string): void {
    this.#send(["STOPPING=1", ...statusLine(status)]);
  }

  /** One line for people, which `systemctl status` shows. */
  status(text: string): void {
    this.#send(statusLine(text));
  }

  /** The daemon is alive: to be said in every {@linkcode watchdogInterval}. */
  watchdog(): void {
    // What was not told in time is of no use later.
    this.#send(["WATCHDOG=1"], { keep: false });
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#waiting = [];
    this.#socket?.[Symbol.dispose]();
    this.#socket = undefined;
  }

  /** Sends assignments now, or soon when the service manager has no room. */
  #send(assignments: string[], { keep = true } = {}): void {
    if (this.#socket === undefined) return;
    const message = assignments.join("\n");
    if (this.#waiting.length === 0 && this.#sendNow(message)) return;
    if (!keep) return;
    if (this.#waiting.length === MOST_WAITING) this.#waiting.shift();
    this.#waiting.push(message);
    this.#retryLater();
  }

  #retryLater(): void {
    if (this.#retry !== undefined) return;
    const timer = setTimeout(() => {
      this.#retry = undefined;
      while (this.#waiting.length > 0 && this.#sendNow(this.#waiting[0])) {
        this.#waiting.shift();
      }
      if (this.#waiting.length > 0) this.#retryLater();
    }, RETRY_MS);
    // Not a reason for the process to stay.
    Deno.unrefTimer(timer);
    this.#retry = timer;
  }

  /** Sends a message; returns whether it is dealt with. */
  #sendNow(message: string): boolean {
    return this.#guarded(() => this.#socket?.send(message)) ?? true;
  }

  /** Does something; what goes wrong is told once and is of no further consequence. */
  #guarded<T>(step: () => T): T | undefined {
    try {
      return step();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#complain(error);
      return undefined;
    }
  }

  #complained = false;

  #complain(error: SystemError): void {
    if (this.#complained) return;
    this.#complained = true;
    this.#warn(`the service manager cannot be notified: ${error.message}`);
  }
}

/** An assignment of the status; none when there is no status. */
function statusLine(text: string | undefined): string[] {
  // A line is an assignment.
  return text === undefined
    ? []
    : [`STATUS=${escapeLine(text.replaceAll(/\s+/g, " "))}`];
}

/** Half of what the service manager waits for, in milliseconds. */
function watchdogInterval(
  microseconds: string | undefined,
  pid: string | undefined,
): number | undefined {
  if (microseconds === undefined || !/^[1-9]\d*$/.test(microseconds)) {
    return undefined;
  }
  const isForUs = pid === undefined || pid === String(Deno.pid);
  if (!isForUs) return undefined;
  return Math.min(Math.max(1, Number(microseconds) / 2000), LONGEST_TIMER);
}
