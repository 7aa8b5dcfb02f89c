/**
 * The frames of a recording: compressed pieces with their lengths and checksums, so that
 * what was written is readable even if the end is missing, and damage is found.
 *
 * @module
 */

import { crc32, deflateRawSync, inflateRawSync } from "node:zlib";
import { DamagedRecording } from "./codec.ts";

/** The version of the format. */
export const FORMAT_VERSION = 1;

/** The most that a frame holds, in bytes, before it is compressed. */
export const LARGEST_FRAME = 2 ** 20;
/** A frame that does not compress becomes this much longer at most. */
const LARGEST_PAYLOAD = LARGEST_FRAME + 1024;

const MAGIC = new TextEncoder().encode("rcap recording\r\n");
const START = MAGIC.length + 8;
const FRAME_HEADER = 20;

/** The bytes that a recording begins with. */
export function fileStart(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(START);
  bytes.set(MAGIC);
  const view = new DataView(bytes.buffer);
  view.setUint32(MAGIC.length, FORMAT_VERSION, true);
  view.setUint32(
    MAGIC.length + 4,
    crc32(bytes.subarray(0, MAGIC.length + 4)),
    true,
  );
  return bytes;
}

/**
 * Makes a frame.
 *
 * @param number how many frames are before it.
 * @param contents at most {@linkcode LARGEST_FRAME} bytes.
 */
export function frameOf(
  number: number,
  contents: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const payload = deflateRawSync(contents, { level: 6 });
  const bytes = new Uint8Array(FRAME_HEADER + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, payload.length, true);
  view.setUint32(4, contents.length, true);
  view.setUint32(8, number, true);
  view.setUint32(12, crc32(payload), true);
  view.setUint32(16, crc32(bytes.subarray(0, 16)), true);
  bytes.set(payload, FRAME_HEADER);
  return bytes;
}

/** Reads bytes in order: fills the buffer, and returns fewer bytes only at the end. */
export type ReadBytes = (buffer: Uint8Array<ArrayBuffer>) => number;

/** A frame that was read. */
export interface Frame {
  /** Where it begins, in bytes from the start of the file. */
  readonly at: number;
  readonly contents: Uint8Array;
}

/** Reads the frames of a recording, one at a time. */
export class FrameReader {
  readonly #read: ReadBytes;
  readonly #name: string;
  #at = 0;
  #frames = 0;
  /** Where the file ends within a frame; `undefined` if it does not. */
  cutAt: number | undefined;

  /** @param name the name of the file, for messages. */
  constructor(read: ReadBytes, name: string) {
    this.#read = read;
    this.#name = name;
  }

  /** @throws DamagedRecording if it is none, or of another version. */
  start(): void {
    const bytes = this.#take(START);
    if (bytes.length < START || MAGIC.some((byte, at) => bytes[at] !== byte)) {
      throw new DamagedRecording(`${this.#name} is not a recording of rcap`);
    }
    const view = viewOf(bytes);
    if (
      view.getUint32(MAGIC.length + 4, true) !==
        crc32(bytes.subarray(0, MAGIC.length + 4))
    ) this.fail(MAGIC.length, "the checksum of the version is wrong");
    const version = view.getUint32(MAGIC.length, true);
    if (version !== FORMAT_VERSION) {
      throw new DamagedRecording(
        `${this.#name} is a recording of version ${version}; this rcap reads version ${FORMAT_VERSION}`,
      );
    }
  }

  /**
   * Reads the next frame; `undefined` at the end, or where the file ends within one.
   *
   * @throws DamagedRecording if it is damaged.
   */
  next(): Frame | undefined {
    const at = this.#at;
    const header = this.#take(FRAME_HEADER);
    if (header.length < FRAME_HEADER) {
      if (header.length > 0) this.cutAt = at;
      return undefined;
    }
    const view = viewOf(header);
    if (view.getUint32(16, true) !== crc32(header.subarray(0, 16))) {
      this.fail(at, "the checksum of a frame's header is wrong");
    }
    const [length, size, number, sum] = [0, 4, 8, 12].map((place) =>
      view.getUint32(place, true)
    );
    if (length > LARGEST_PAYLOAD || size > LARGEST_FRAME) {
      this.fail(at, `a frame of ${Math.max(length, size)} bytes is too large`);
    }
    if (number !== this.#frames) {
      this.fail(at, `frame ${number} is where frame ${this.#frames} should be`);
    }
    const payload = this.#take(length);
    if (payload.length < length) {
      this.cutAt = at;
      return undefined;
    }
    if (crc32(payload) !== sum) {
      this.fail(at, "the checksum of a frame is wrong");
    }
    this.#frames++;
    return { at, contents: this.#inflate(payload, { at, size }) };
  }

  #inflate(
    payload: Uint8Array,
    { at, size }: { at: number; size: number },
  ): Uint8Array {
    let contents: Uint8Array;
    try {
      contents = inflateRawSync(payload, {
        maxOutputLength: Math.max(size, 1),
      });
    } catch {
      this.fail(at, "a frame cannot be decompressed to its size");
    }
    if (contents.length !== size) {
      this.fail(at, "a frame is not as large as its header says");
    }
    return contents;
  }

  /** @throws DamagedRecording always, with the place and the reason. */
  fail(at: number, reason: string): never {
    throw new DamagedRecording(
      `${this.#name} is damaged at byte ${at}: ${reason}`,
    );
  }

  #take(length: number): Uint8Array<ArrayBuffer> {
    const buffer = new Uint8Array(length);
    const got = this.#read(buffer);
    this.#at += got;
    return buffer.subarray(0, got);
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
