/**
 * Help for tests: recordings of a simulated machine.
 *
 * @module
 */

import { parseSelector } from "../collection/selectors.ts";
import { SystemError } from "../errors.ts";
import { type FakePlatform, TICK } from "../platform/fake_testing.ts";
import { RecordingReader } from "../recording/reader.ts";
import { record, type RecordOptions, type RecordResult } from "./record.ts";

/** A file in memory that may be full. */
export class MemoryFile {
  #bytes = new Uint8Array(0);
  most = Infinity;
  isRemoved = false;

  write(bytes: Uint8Array): void {
    const room = Math.min(bytes.length, this.most - this.#bytes.length);
    const all = new Uint8Array(this.#bytes.length + room);
    all.set(this.#bytes);
    all.set(bytes.subarray(0, room), this.#bytes.length);
    this.#bytes = all;
    if (room < bytes.length) {
      throw new SystemError("write FILE", 28, "No space left on device");
    }
  }

  remove(): void {
    this.isRemoved = true;
  }

  get length(): number {
    return this.#bytes.length;
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  get reader(): RecordingReader {
    let at = 0;
    return new RecordingReader((buffer) => {
      const part = this.#bytes.subarray(at, at + buffer.length);
      buffer.set(part);
      at += part.length;
      return part.length;
    }, "FILE");
  }
}

/** Records some minutes of the processes named `one`, and runs a step with the path of the file. */
export async function withRecording<T>(
  platform: FakePlatform,
  step: (path: string) => Promise<T>,
  minutes = 10,
): Promise<T> {
  const file = new MemoryFile();
  await recordOn(platform, file, { observation: minutes * 60_000 });
  return await withFile(file, step);
}

/** Runs a step with the path of a file that has the same contents. */
export async function withFile<T>(
  file: MemoryFile,
  step: (path: string) => Promise<T>,
): Promise<T> {
  const path = Deno.makeTempFileSync({ prefix: "rcap-" });
  try {
    Deno.writeFileSync(path, file.bytes);
    return await step(path);
  } finally {
    Deno.removeSync(path);
  }
}

/** Records the processes named `one` while the clock runs. */
export async function recordOn(
  platform: FakePlatform,
  file: MemoryFile,
  options: Partial<RecordOptions> = {},
): Promise<RecordResult> {
  const { clock } = platform;
  const ignore = () => {};
  return await clock.finish(
    record({
      selectors: [parseSelector("comm:one")],
      observation: 60_000,
      interval: 5000,
      signal: new AbortController().signal,
      log: { warn: ignore, info: ignore, debug: ignore },
      platform,
      clock,
      file,
      path: "FILE",
      isAnonymous: false,
      version: "1.2.3",
      ...options,
    }),
    TICK,
  );
}
