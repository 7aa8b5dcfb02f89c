/**
 * Reads a recording beside other work.
 *
 * @module
 */

import { systemClock } from "../platform/clock.ts";
import type { RecordingReader } from "./reader.ts";
import type { RecordedStep } from "./records.ts";

/** For how long a signal may wait, in milliseconds. */
const LONGEST_TURN = 50;

/**
 * Reads the steps of a recording, and lets signals through meanwhile.
 *
 * @throws DamagedRecording at the first damage.
 * @throws the reason of the signal soon after it is aborted.
 */
export async function* stepsOf(
  reader: RecordingReader,
  signal: AbortSignal,
): AsyncGenerator<RecordedStep> {
  let last = performance.now();
  for (const step of reader.turns()) {
    if (performance.now() - last > LONGEST_TURN) {
      await systemClock.sleep(0);
      last = performance.now();
    }
    signal.throwIfAborted();
    if (step) yield step;
  }
}
