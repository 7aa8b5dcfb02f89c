/**
 * Fuzz tests of what users send: requests to the metrics port.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { endConnection } from "../../ffi/linux_socket.ts";
import fc from "fast-check";
import { damagedTexts, fuzz, fuzzSeed } from "../../tests/support/fuzzing.ts";
import { endOfHead, HttpError, parseHead } from "./http_request.ts";
import { Metrics } from "./metrics.ts";
import { MetricsServer } from "./metrics_server.ts";

const REQUEST =
  "GET /metrics?a=b HTTP/1.1\r\nHost: localhost:7227\r\nUser-Agent: Prometheus/3\r\n" +
  "Accept: application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n" +
  "Accept-Encoding: gzip\r\nConnection: close\r\n\r\n";
const REQUESTS: [string, ...string[]] = [
  REQUEST,
  "HEAD http://a/healthz HTTP/1.0\r\n\r\n",
  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
];

/** Encodes a text, one byte per character: the low eight bits. */
function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0) & 0xff);
}

Deno.test("fuzz: heads of requests", () => {
  fuzz(damagedTexts(REQUESTS), 19_000, (text) => {
    const bytes = bytesOf(text);
    const end = endOfHead(bytes);
    assert(end === undefined || end > 1 && end <= bytes.length);
    try {
      const { method, path } = parseHead(bytes);
      assert(method === "GET" || method === "HEAD");
      assert(path.startsWith("/") && /^[!-~]+$/.test(path), path);
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      assert([400, 405, 413, 505].includes(error.status), `${error.status}`);
    }
  });
});

Deno.test("fuzz: requests over connections", async () => {
  const warnings: string[] = [];
  await using server = new MetricsServer({
    endConnection,
    address: { hostname: "127.0.0.1", port: 0 },
    metrics: new Metrics({ version: "1" }),
    health: () => undefined,
    warn: (message) => warnings.push(message),
  });
  const seed = fuzzSeed();
  const inputs = fc.sample(damagedTexts(REQUESTS), { numRuns: 1000, seed });
  for (const text of inputs) {
    using connection = await Deno.connect(server.address);
    await connection.write(bytesOf(text));
    await connection.closeWrite();
    let answer = "";
    try {
      answer = await new Response(connection.readable).text();
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
    }
    // An answer, or the end of the connection if the request is incomplete.
    assert(
      answer === "" ||
        /^HTTP\/1\.1 (200|400|404|405|413|414|431|505) /.test(answer),
      JSON.stringify({ seed, text, answer }),
    );
  }
  assertEquals(warnings, []);
});
