/**
 * Reads what a recording says of itself.
 *
 * @module
 */

import * as v from "valibot";
import { Decoder, Malformed } from "./codec.ts";
import { LARGEST_INFO, RECORD, type RecordingInfo } from "./records.ts";

/** The shortest and the longest interval of a writer, in seconds. */
const SHORTEST_INTERVAL = 0.01;
const LONGEST_INTERVAL = 86_400;
/** The last second that a date has: see ECMAScript, Time Values. */
const LAST_SECOND = 8.64e12;

const seconds = v.pipe(
  v.number(),
  v.finite(),
  v.minValue(0),
  v.maxValue(LAST_SECOND),
);

const INFO = v.object({
  rcap: v.string(),
  startedAt: seconds,
  interval: v.pipe(
    v.number(),
    v.minValue(SHORTEST_INTERVAL),
    v.maxValue(LONGEST_INTERVAL),
  ),
  selectors: v.array(v.string()),
  pagedata: v.picklist(["pte", "smaps", "proc"]),
  isAnonymous: v.boolean(),
  pageIns: v.array(v.object({
    from: v.picklist(["swap", "file", "reads"]),
    device: v.string(),
    nanoseconds: v.pipe(v.number(), v.finite(), v.minValue(0)),
  })),
});

/**
 * Reads the contents of the first frame.
 *
 * @throws Malformed if it is not the information about a recording.
 */
export function readInfo(contents: Uint8Array): RecordingInfo {
  const decoder = new Decoder(contents);
  if (decoder.byte() !== RECORD.info) {
    throw new Malformed("it does not begin with what is recorded");
  }
  const text = decoder.raw(decoder.upTo(LARGEST_INFO, "its information"));
  if (!decoder.isAtEnd) throw new Malformed("its first frame is too long");
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(text));
  } catch {
    throw new Malformed("its information is not JSON");
  }
  const info = v.safeParse(INFO, json);
  if (info.success) return info.output;
  throw new Malformed(`its information: ${info.issues[0].message}`);
}
