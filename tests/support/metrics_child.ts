/**
 * A process for the tests: serves metrics on a free port of this machine, and
 * prints the port and its warnings on standard output.
 *
 * @module
 */

import { endConnection } from "../../ffi/linux_socket.ts";
import { Metrics } from "../../lib/service/metrics.ts";
import { MetricsServer } from "../../lib/service/metrics_server.ts";
import { say } from "./say.ts";

if (import.meta.main) {
  const { address } = new MetricsServer({
    address: { hostname: "127.0.0.1", port: 0 },
    metrics: new Metrics({ version: "1" }),
    health: () => undefined,
    endConnection,
    warn: (message) => say(message),
  });
  say(address.port);
}
