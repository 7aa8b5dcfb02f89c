/**
 * Tests of parsing the heads of HTTP requests.
 *
 * @module
 */

import { assertEquals, assertThrows } from "@std/assert";
import { emptyLines, endOfHead, HttpError, parseHead } from "./http_request.ts";

/** Encodes text, one byte per character. */
function bytes(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

/** Joins lines to the head of a request. */
function head(...lines: string[]): Uint8Array {
  return bytes([...lines, "", ""].join("\r\n"));
}

Deno.test("a valid request has a method, a path and headers", () => {
  const cases: [
    lines: string[],
    method: string,
    path: string,
    isLast: boolean,
  ][] = [
    [["GET /metrics HTTP/1.1", "Host: a"], "GET", "/metrics", false],
    [["HEAD /metrics HTTP/1.1", "Host: a"], "HEAD", "/metrics", false],
    [["GET /healthz HTTP/1.0"], "GET", "/healthz", true],
    [
      ["GET /healthz HTTP/1.0", "connection: keep-alive"],
      "GET",
      "/healthz",
      true,
    ],
    [["GET /metrics?a=b&c HTTP/1.1", "host:a"], "GET", "/metrics", false],
    [["GET /a#b HTTP/1.1", "Host: [::1]:7227"], "GET", "/a", false],
    [
      ["GET http://other:1/metrics?x HTTP/1.1", "Host: a"],
      "GET",
      "/metrics",
      false,
    ],
    [["GET http://other HTTP/1.1", "Host: a"], "GET", "/", false],
    [["GET http://other?x HTTP/1.1", "Host: a"], "GET", "/", false],
    [["GET /%2e/../x HTTP/1.1", "Host:"], "GET", "/%2e/../x", false],
    [["GET / HTTP/1.1", "Host: a", "Connection: x, Close"], "GET", "/", true],
    [["GET / HTTP/1.1", "Host: a", "Content-Length: 0"], "GET", "/", false],
    [
      ["GET / HTTP/1.9", "Host: a", "X-e: y"],
      "GET",
      "/",
      false,
    ],
  ];
  for (const [lines, method, path, isLast] of cases) {
    const request = parseHead(head(...lines));
    const found = [request.method, request.path, request.isLast];
    assertEquals(found, [method, path, isLast], lines[0]);
  }
});

Deno.test("fields of the same name are joined, and hold any byte but controls", () => {
  const { headers } = parseHead(head(
    "GET / HTTP/1.1",
    "HOST:\t a.example:1 ",
    "Accept: text/plain",
    "accept: */*;q=0.1",
    "X: \xe9",
  ));
  assertEquals(headers.get("host"), "a.example:1");
  assertEquals(headers.get("Accept"), "text/plain, */*;q=0.1");
  assertEquals(headers.get("x"), "\xe9");
});

Deno.test("a bare line feed ends a line", () => {
  const { path } = parseHead(bytes("GET /a HTTP/1.1\nHost: a\n\n"));
  assertEquals(path, "/a");
});

Deno.test("malformed and unsupported requests are refused with their status", () => {
  const ok = "GET / HTTP/1.1";
  const cases: [status: number, ...lines: string[]][] = [
    [400],
    [400, "GET"],
    [400, "GET /"],
    [400, "GET  / HTTP/1.1", "Host: a"],
    [400, "GET / HTTP/1.1 ", "Host: a"],
    [400, "GET / x HTTP/1.1", "Host: a"],
    [400, "GET\t/ HTTP/1.1", "Host: a"],
    [400, "G\x00T / HTTP/1.1", "Host: a"],
    [400, "GET /\x7f HTTP/1.1", "Host: a"],
    [400, "GET /\xe9 HTTP/1.1", "Host: a"],
    [400, "GET metrics HTTP/1.1", "Host: a"],
    [400, "GET http:// HTTP/1.1", "Host: a"],
    [400, "GET ftp://a/ HTTP/1.1", "Host: a"],
    [400, "GET / http/1.1", "Host: a"],
    [400, "GET / HTTP/1", "Host: a"],
    [400, "GET / HTTP/1.10", "Host: a"],
    [505, "GET / HTTP/2.0", "Host: a"],
    [505, "GET / HTTP/0.9"],
    // The preface of HTTP/2: RFC 9113, section 3.4.
    [505, "PRI * HTTP/2.0"],
    // Host: missing, repeated, malformed.
    [400, ok],
    [400, ok, "X-Host: a"],
    [400, ok, "Host: a", "Host: b"],
    [400, ok, "Host: a", "host: a"],
    [400, ok, "Host: a b"],
    [400, ok, "Host: a/b"],
    [400, ok, "Host: a@b"],
    [400, ok, "Host: a:b"],
    [400, ok, "Host: ::1"],
    [400, ok, "Host: [::1"],
    [400, ok, "Host: a, b"],
    [400, ok, "Host: \xe9"],
    [400, "GET / HTTP/1.0", "Host: a b"],
    // Fields.
    [400, ok, "Host: a", "no colon"],
    [400, ok, "Host: a", ": no name"],
    [400, ok, "Host: a", "a space : x"],
    [400, ok, "Host : a"],
    [400, ok, "Host: a", " folded: x"],
    [400, ok, "Host: a", "X: a", "\tfolded"],
    [400, ok, "Host: a", "X: a\x00b"],
    [400, ok, "Host: a", "X: a\rY: b"],
    [400, ok, "Host: a", "X: \x1b[2J"],
    // Bodies.
    [413, ok, "Host: a", "Content-Length: 1"],
    [413, ok, "Host: a", "Transfer-Encoding: chunked"],
    [413, "POST / HTTP/1.1", "Host: a", "Content-Length: 3"],
    [400, ok, "Host: a", "Content-Length: -1"],
    [400, ok, "Host: a", "Content-Length: 0x1"],
    [400, ok, "Host: a", "Content-Length: "],
    [400, ok, "Host: a", "Content-Length: 0", "Content-Length: 0"],
    [400, ok, "Host: a", "Content-Length: 0", "Transfer-Encoding: chunked"],
    [405, "POST / HTTP/1.1", "Host: a"],
    [405, "OPTIONS * HTTP/1.1", "Host: a"],
    [405, "CONNECT a:1 HTTP/1.1", "Host: a"],
    [405, "get / HTTP/1.1", "Host: a"],
  ];
  for (const [status, ...lines] of cases) {
    const error = assertThrows(
      () => parseHead(head(...lines)),
      HttpError,
    );
    assertEquals(error.status, status, `${lines.join("|")}: ${error.message}`);
  }
});

Deno.test("the end of a head is found, whatever the pieces it arrives in", () => {
  const cases: [text: string, end: number | undefined][] = [
    ["", undefined],
    ["a\r\n", undefined],
    ["a\r\n\r", undefined],
    ["a\r\n\r\n", 5],
    ["a\r\n\r\nmore", 5],
    ["a\n\n", 3],
    ["a\n\r\n", 4],
    ["a\r\n\n", 4],
    ["a\rb\r\r\n\r\n", 8],
    ["a\n\rb\n\n", 6],
  ];
  for (const [text, end] of cases) {
    assertEquals(endOfHead(bytes(text)), end, JSON.stringify(text));
    // Searched before up to any offset.
    for (let from = 0; from < (end ?? text.length); from++) {
      assertEquals(endOfHead(bytes(text), from), end, `${from}`);
    }
  }
  assertEquals(emptyLines(bytes("\r\n\n\r\nGET")), 5);
  assertEquals(emptyLines(bytes("\r")), 0);
  assertEquals(emptyLines(bytes("")), 0);
});
