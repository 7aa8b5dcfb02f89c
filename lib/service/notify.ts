/**
 * Notifies the service manager of the daemon's status: the protocol of
 * `sd_notify(3)` and `sd_watchdog_enabled(3)`.
 *
 * @module
 */

import { SystemError } from "../errors.ts";
import type { Systemd } from "../platform/operating_system.ts";
import { escapeLine } from "../report/escape.ts";

/** The environment variables with which a service manager asks for notifications. */
export const NOTIFY_ENVIRONMENT = [
  "NOTIFY_SOCKET",
  "WATCHDOG_USEC",
  "WATCHDOG_PID",
] as const;

/** How long to wait before sending again if the socket is full, in milliseconds. */
const RETRY_MS = 50;

/** The greatest number of messages that wait for a full socket. */
const MOST_WAITING = 64;

/** The longest delay of `setTimeout`, in milliseconds; longer delays are cut to 1. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** What a notifier needs from its environment. */
export interface NotifierOptions {
  /** Access to systemd; without it nothing is sent. */
  systemd: Pick<Systemd, "notifySocket" | "monotonicMicroseconds"> | undefined;
  /** Reads an environment variable. */
  env?: (name: typeof NOTIFY_ENVIRONMENT[number]) => string | undefined;
  /** Called once with a message if a notification cannot be sent. */
  warn?: (message: string) => void;
}

/**
 * Notifies the service manager, if there is one. No method throws or waits: a daemon
 * must not fail because its service manager has gone.
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
   * service manager requires. `undefined` if it requires nothing of this process.
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

  /** Returns a notifier for the service manager that started this process, if any. */
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

  /** Notifies that start-up, or a reload, is complete. */
  ready(status?: string): void {
    this.#send(["READY=1", ...statusLine(status)]);
  }

  /** Notifies that a reload begins; call {@linkcode ready} at its end, even if it failed. */
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

  /** Notifies that the daemon is alive: to call once per {@linkcode watchdogInterval}. */
  watchdog(): void {
    // A late message would be useless.
    this.#send(["WATCHDOG=1"], { keep: false });
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#waiting = [];
    this.#socket?.[Symbol.dispose]();
    this.#socket = undefined;
  }

  /** Sends assignments now, or later if the socket is full and `keep` is true. */
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
    // The timer must not keep the process from ending.
    Deno.unrefTimer(timer);
    this.#retry = timer;
  }

  /** Sends a message; returns `false` if the socket is full. */
  #sendNow(message: string): boolean {
    return this.#guarded(() => this.#socket?.send(message)) ?? true;
  }

  /** Runs a step; warns about the first system error, and ignores the others. */
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

/** The assignment of the status; none without a status. */
function statusLine(text: string | undefined): string[] {
  // Every line is an assignment, so the status must be a single one.
  return text === undefined
    ? []
    : [`STATUS=${escapeLine(text.replaceAll(/\s+/g, " "))}`];
}

/** Half of the watchdog timeout of the service manager, in milliseconds. */
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
