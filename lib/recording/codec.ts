/**
 * The numbers and texts of a recording as bytes: see docs/recording.md.
 *
 * @module
 */

import { RcapError } from "../errors.ts";

/** The longest text of a recording, in bytes. */
export const LONGEST_TEXT = 1024;

/** A recording is damaged, or is none. */
export class DamagedRecording extends RcapError {
  override name = "DamagedRecording";
}

/** What is wrong with bytes, without where they are. */
export class Malformed extends Error {}

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder("utf-8", { fatal: true });

/** Writes numbers and texts to a buffer that grows. */
export class Encoder {
  #bytes = new Uint8Array(4096);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** The bytes so far, until more are added. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
  }

  #makeRoom(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }

  byte(value: number): void {
    this.#makeRoom(1);
    this.#bytes[this.#length++] = value;
  }

  /** Adds a whole number of 0 to 2^53 - 1: seven bits a byte, the lowest first. */
  number(value: number): void {
    this.#makeRoom(8);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = rest % 0x80 | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#length++] = rest;
  }

  /** Adds a whole number that may be negative, of up to 2^52. */
  signed(value: number): void {
    this.number(value < 0 ? -2 * value - 1 : 2 * value);
  }

  /** Adds a text, cut to {@linkcode LONGEST_TEXT}. */
  text(value: string): void {
    let bytes = textEncoder.encode(value);
    if (bytes.length > LONGEST_TEXT) {
      // Not within a character: bytes that continue one begin with the bits 10.
      let end = LONGEST_TEXT;
      while ((bytes[end] & 0xc0) === 0x80) end--;
      bytes = bytes.slice(0, end);
    }
    this.number(bytes.length);
    this.raw(bytes);
  }

  raw(bytes: Uint8Array): void {
    this.#makeRoom(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Adds a word of 32 bits. */
  word(value: number): void {
    this.#makeRoom(4);
    this.#bytes[this.#length++] = value & 0xff;
    this.#bytes[this.#length++] = value >>> 8 & 0xff;
    this.#bytes[this.#length++] = value >>> 16 & 0xff;
    this.#bytes[this.#length++] = value >>> 24;
  }
}

/** Reads what an {@linkcode Encoder} wrote. All methods throw {@linkcode Malformed}. */
export class Decoder {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  byte(): number {
    if (this.isAtEnd) throw new Malformed("it ends within a record");
    return this.#bytes[this.#at++];
  }

  number(): number {
    let value = 0;
    let place = 1;
    for (let count = 0; count < 8; count++) {
      const byte = this.byte();
      value += (byte & 0x7f) * place;
      if (byte < 0x80) {
        if (value <= Number.MAX_SAFE_INTEGER) return value;
        break;
      }
      place *= 0x80;
    }
    throw new Malformed("a number is too large");
  }

  /** Reads a number that is at most a limit. */
  upTo(most: number, what: string): number {
    const value = this.number();
    if (value <= most) return value;
    throw new Malformed(`${value} is too large for ${what}`);
  }

  signed(): number {
    const value = this.number();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  text(): string {
    const length = this.upTo(LONGEST_TEXT, "the length of a text");
    try {
      return textDecoder.decode(this.raw(length));
    } catch (error) {
      if (error instanceof Malformed) throw error;
      throw new Malformed("a text is not UTF-8");
    }
  }

  raw(length: number): Uint8Array {
    const end = this.#at + length;
    if (end > this.#bytes.length) {
      throw new Malformed("it ends within a record");
    }
    const bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }

  word(): number {
    const bytes = this.raw(4);
    return (bytes[0] | bytes[1] << 8 | bytes[2] << 16 | bytes[3] << 24) >>> 0;
  }
}
