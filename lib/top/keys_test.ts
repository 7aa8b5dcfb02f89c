import { assertEquals } from "@std/assert";
import { KeyParser } from "./keys.ts";

const encoder = new TextEncoder();
const keysOf = (text: string) => new KeyParser().take(encoder.encode(text));

Deno.test("keys have names, in both modes of the cursor keys", () => {
  assertEquals(keysOf("\x1b[A\x1bOB\x1b[C\x1b[D"), [
    "up",
    "down",
    "right",
    "left",
  ]);
  assertEquals(keysOf("\x1b[5~\x1b[6~\x1b[H\x1b[4~"), [
    "pageup",
    "pagedown",
    "home",
    "end",
  ]);
  assertEquals(keysOf("\x1bOP\x1b[15~\x1b[1;5A"), ["f1", "f5", "up"]);
  assertEquals(keysOf("q\r\x7fä"), ["q", "enter", "backspace", "ä"]);
});

Deno.test("the wheel turns up and down; other reports of the mouse are no keys", () => {
  assertEquals(keysOf("\x1b[<64;10;5M\x1b[<65;10;5M\x1b[<0;1;1M\x1b[<0;1;1m"), [
    "wheelup",
    "wheeldown",
  ]);
});

Deno.test("a sequence may come byte by byte", () => {
  const parser = new KeyParser();
  const keys = [...encoder.encode("\x1b[<64;10;5Mü")].flatMap((byte) =>
    parser.take(new Uint8Array([byte]))
  );
  assertEquals(keys, ["wheelup", "ü"]);
});

Deno.test("an escape is a key if nothing follows", () => {
  const parser = new KeyParser();
  assertEquals(parser.take(encoder.encode("\x1b")), []);
  assertEquals(parser.isWaiting, true);
  assertEquals(parser.flush(), ["escape"]);
  assertEquals(parser.isWaiting, false);
  assertEquals(parser.take(encoder.encode("\x1b\x1b[A")), ["escape", "up"]);
});

Deno.test("a sequence that never ends is not kept", () => {
  const parser = new KeyParser();
  parser.take(encoder.encode("\x1b[" + "1;".repeat(500)));
  parser.flush();
  assertEquals(parser.take(encoder.encode("q")), ["q"]);
});
