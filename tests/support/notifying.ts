/**
 * A service for the tests that notifies the service manager: it is ready, reloads
 * on SIGHUP, stops pinging the watchdog on SIGUSR1, and ends on SIGTERM.
 *
 * @module
 */

import { system } from "../../lib/platform/system_testing.ts";
import { Notifier } from "../../lib/service/notify.ts";
import { complain } from "./say.ts";

if (import.meta.main) {
  const notifier = Notifier.fromEnvironment({
    systemd: system.systemd,
    warn: complain,
  });
  let reloads = 0;
  Deno.addSignalListener("SIGHUP", () => {
    notifier.reloading();
    reloads++;
    notifier.ready(`reloaded ${reloads}`);
  });
  const watchdog = setInterval(
    () => notifier.watchdog(),
    notifier.watchdogInterval,
  );
  Deno.addSignalListener("SIGUSR1", () => clearInterval(watchdog));
  Deno.addSignalListener("SIGTERM", () => {
    notifier.stopping("good-bye");
    Deno.exit(0);
  });
  // Signals alone do not keep it running.
  setInterval(() => {}, 60_000);
  notifier.ready("started");
}
