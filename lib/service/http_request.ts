/**
 * Parses the head of HTTP/1.1 and 1.0 requests: RFC 9112, sections 2 to 5.
 *
 * @module
 */

/** A request without a body. */
export interface HttpRequest {
  readonly method: "GET" | "HEAD";
  /** The path of the target, without query, as sent: not decoded. */
  readonly path: string;
  readonly headers: Headers;
  /** Whether the client sends no further request on this connection. */
  readonly isLast: boolean;
}

/** A request that is answered with an error, which ends the connection. */
export class HttpError extends Error {
  override name = "HttpError";
  /** A status of RFC 9110, section 15. */
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const LF = 0x0a;
const CR = 0x0d;

/**
 * Finds the end of the head of a request: the offset after the empty line.
 *
 * @param from where to start; the bytes before were searched already.
 * @returns `undefined` if the head is incomplete.
 */
export function endOfHead(bytes: Uint8Array, from = 0): number | undefined {
  // The last two bytes searched may begin the empty line.
  for (
    let at = bytes.indexOf(LF, Math.max(0, from - 2));
    at >= 0;
    at = bytes.indexOf(LF, at + 1)
  ) {
    if (bytes[at + 1] === LF) return at + 2;
    if (bytes[at + 1] === CR && bytes[at + 2] === LF) return at + 3;
  }
  return undefined;
}

/** The number of bytes in empty lines before a request: RFC 9112, section 2.2. */
export function emptyLines(bytes: Uint8Array): number {
  let at = 0;
  while (bytes[at] === LF || (bytes[at] === CR && bytes[at + 1] === LF)) {
    at += bytes[at] === LF ? 1 : 2;
  }
  return at;
}

/** A method, or the name of a field: RFC 9110, section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~\w-]+$/;
/** Visible ASCII characters. */
const TARGET = /^[!-~]+$/;
/** The value of a field: no control characters except tab. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** RFC 9112, section 3.2.2; the authority is ignored. */
const ABSOLUTE = /^https?:\/\/[^/?#]+/i;
/** RFC 9110, section 7.2, and RFC 3986, section 3.2. */
const HOST = /^(\[[\da-fA-F:.]+\]|[\w.~!$&'()*+,;=%-]*)(:\d*)?$/;

/**
 * Parses the head of a request. A bare line feed ends a line, too.
 *
 * @param bytes the head, including the empty line.
 * @throws HttpError if the request is malformed, or this server does not answer it.
 */
export function parseHead(bytes: Uint8Array): HttpRequest {
  const lines = latin1(bytes).split("\n").map((line) =>
    line.endsWith("\r") ? line.slice(0, -1) : line
  );
  const [requestLine, ...fields] = lines.slice(0, lines.indexOf(""));
  const words = (requestLine ?? "").split(" ");
  const [method, target = "", version = ""] = words;
  const [, major] = /^HTTP\/(\d)\.\d$/.exec(version) ?? [];
  if (
    words.length !== 3 || !TOKEN.test(method) || !TARGET.test(target) ||
    major === undefined
  ) {
    throw new HttpError(400, "the request line is malformed");
  }
  if (major !== "1") throw new HttpError(505, "only HTTP/1.1 and HTTP/1.0");

  const headers = parseFields(fields);
  const isOld = version === "HTTP/1.0";
  checkHost(headers, isOld);
  checkBody(headers);
  if (method !== "GET" && method !== "HEAD") {
    throw new HttpError(405, "only GET and HEAD");
  }
  const path = target.replace(ABSOLUTE, "").replace(/[?#].*$/s, "");
  if (!path.startsWith("/") && !ABSOLUTE.test(target)) {
    throw new HttpError(400, "the request target is not a path");
  }
  const options = headers.get("connection")?.toLowerCase().split(",") ?? [];
  return {
    method,
    path: path || "/",
    headers,
    isLast: isOld || options.some((option) => option.trim() === "close"),
  };
}

/** Decodes every byte as one character, so that no byte is invalid. */
function latin1(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

function parseFields(lines: readonly string[]): Headers {
  const headers = new Headers();
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(0, colon));
    const value = line.slice(colon + 1);
    // This refuses a space before the colon, and a value that continues on the next
    // line: RFC 9112, sections 5.1 and 5.2.
    if (!TOKEN.test(name) || !VALUE.test(value)) {
      throw new HttpError(400, "a header field is malformed");
    }
    headers.append(name, value);
  }
  return headers;
}

/** RFC 9112, section 3.2. Headers joins several hosts by a comma and a space. */
function checkHost(headers: Headers, mayBeMissing: boolean): void {
  const host = headers.get("host");
  if (host === null ? mayBeMissing : HOST.test(host)) return;
  throw new HttpError(
    400,
    host === null ? "the header field Host is missing" : "Host is malformed",
  );
}

/** RFC 9112, section 6. */
function checkBody(headers: Headers): void {
  const length = headers.get("content-length");
  const isChunked = headers.has("transfer-encoding");
  if (length !== null && (isChunked || !/^\d+$/.test(length))) {
    throw new HttpError(400, "the length of the body is malformed");
  }
  if (isChunked || Number(length) > 0) {
    throw new HttpError(413, "requests must not have a body");
  }
}
