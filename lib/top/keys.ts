/**
 * Keys: what a terminal sends for them, and for the wheel of a mouse. The sequences are
 * those of xterm, which all terminals share that have an alternate screen: XTerm Control
 * Sequences, "PC-Style Function Keys" and "SGR (1006)" mouse reports.
 *
 * @module
 */

/** A key, or a turn of the wheel: a name, or the character itself. */
export type Key = string;

const NAMES: Readonly<Record<string, Key>> = {
  "A": "up",
  "B": "down",
  "C": "right",
  "D": "left",
  "H": "home",
  "F": "end",
  "P": "f1",
  "Q": "f2",
  "R": "f3",
  "S": "f4",
  "1~": "home",
  "3~": "delete",
  "4~": "end",
  "5~": "pageup",
  "6~": "pagedown",
  "7~": "home",
  "8~": "end",
  "11~": "f1",
  "12~": "f2",
  "13~": "f3",
  "14~": "f4",
  "15~": "f5",
  "17~": "f6",
  "18~": "f7",
  "19~": "f8",
  "20~": "f9",
  "21~": "f10",
};

const CONTROLS: Readonly<Record<string, Key>> = {
  "\r": "enter",
  "\n": "enter",
  "\x7f": "backspace",
  "\b": "backspace",
  "\t": "tab",
  "\x0c": "redraw",
  "\x04": "ctrl-d",
  "\x15": "ctrl-u",
};

/** The longest sequence that is waited for, in characters. */
const LONGEST = 32;

/** Turns what a terminal sends into keys. A sequence may come in parts. */
export class KeyParser {
  readonly #decoder = new TextDecoder();
  #rest = "";

  /** Whether an escape has come, and what may follow has not. */
  get isWaiting(): boolean {
    return this.#rest !== "";
  }

  /** Takes some bytes, and returns the keys that are complete. */
  take(bytes: Uint8Array): Key[] {
    this.#rest += this.#decoder.decode(bytes, { stream: true });
    const keys: Key[] = [];
    for (;;) {
      const key = this.#next();
      if (key === undefined) return keys;
      if (key !== "") keys.push(key);
    }
  }

  /** Ends the wait for the rest of a sequence: an escape alone is the key itself. */
  flush(): Key[] {
    const isKey = this.#rest === "\x1b";
    this.#rest = "";
    return isKey ? ["escape"] : [];
  }

  /** Returns the next key; an empty text for what is not one, `undefined` for none. */
  #next(): Key | undefined {
    const text = this.#rest;
    if (text === "") return undefined;
    if (text[0] !== "\x1b") {
      const [character] = text;
      this.#rest = text.slice(character.length);
      if (character < " " || character === "\x7f") {
        return CONTROLS[character] ?? "";
      }
      return character;
    }
    if (text.length === 1) return undefined;
    if (text[1] === "\x1b") {
      this.#rest = text.slice(1);
      return "escape";
    }
    if (text[1] !== "[" && text[1] !== "O") {
      // Alt and a key.
      this.#rest = text.slice(2);
      return "";
    }
    // ECMA-48: parameters, then intermediates, then one final byte.
    // deno-lint-ignore no-control-regex -- it is what terminals send
    const match = /^\x1b[[O]([0-?]*)[ -/]*([@-~])/.exec(text);
    if (!match) {
      // deno-lint-ignore no-control-regex -- as above
      const mayFollow = /^\x1b[[O][ -?]*$/.test(text) && text.length < LONGEST;
      if (mayFollow) return undefined;
      this.#rest = text.slice(2);
      return "";
    }
    const [sequence, parameters, final] = match;
    this.#rest = text.slice(sequence.length);
    if (parameters.startsWith("<")) return wheelOf(parameters, final);
    const [number] = parameters.split(";");
    return NAMES[final === "~" ? `${number}~` : final] ?? "";
  }
}

/** SGR mouse reports: buttons 64 and 65 are the wheel, up and down. */
function wheelOf(parameters: string, final: string): Key {
  const [button] = parameters.slice(1).split(";");
  if (final !== "M") return "";
  return button === "64" ? "wheelup" : button === "65" ? "wheeldown" : "";
}
