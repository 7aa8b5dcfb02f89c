/**
 * Describes the events of a scan for `--log-level debug`.
 *
 * @module
 */

import {
  mappingBytes,
  mappingEnd,
  type PagedataMapping,
} from "../memory/pagedata.ts";
import { formatSize, hex } from "../report/units.ts";
import type { ScanEvent } from "../scanner/scan.ts";

/** Describes an event in lines of text. */
export function narrate(event: ScanEvent): string[] {
  switch (event.type) {
    case "error":
      return [
        `process ${event.process.pid} passed over: ${event.error.message}`,
      ];
    case "insufficient": {
      const { unreferenced, excess } = event;
      return [
        `unreferenced pages (${
          formatSize(unreferenced)
        }) will not cover the excess (${
          formatSize(excess)
        }): pages in use go too`,
      ];
    }
    case "victim": {
      const { process, resumeAddress, excess } = event;
      const where = resumeAddress === undefined
        ? "chosen, from its beginning"
        : `resumed at ${hex(resumeAddress)}`;
      return [
        `victim ${process.pid} ${where}: ${
          formatSize(process.unreferenced)
        } unreferenced, excess ${formatSize(excess)}`,
      ];
    }
    case "skip": {
      const { process, mapping, reason } = event;
      return [
        `victim ${process.pid}: mapping ${
          place(mapping)
        } passed over: ${reason}`,
      ];
    }
    case "pageout": {
      const { process, ranges, results, fell, excess } = event;
      const told = results.map(({ result, message }, index) => {
        const { start, end, bytes } = ranges[index];
        const what = message ? `${result}: ${message}` : result;
        return `victim ${process.pid}: range ${hex(start)}-${hex(end)}, ${
          formatSize(bytes)
        } resident: ${what}`;
      });
      const isPlan = results.some(({ result }) => result === "planned");
      const verb = isPlan ? "would fall" : "fell";
      const gave = `victim ${process.pid}: RSS ${verb} by ${
        formatSize(fell)
      }, ${remains(excess)}`;
      return [...told, gave];
    }
    case "ignore": {
      const { process, mapping } = event;
      return [
        `victim ${process.pid}: mapping ${
          place(mapping)
        } cannot be paged out and will be ignored`,
      ];
    }
    case "end":
      return [
        `scan ${event.complete ? "complete" : "ends and will be resumed"}: ${
          remains(event.excess)
        }`,
      ];
  }
}

function remains(excess: number): string {
  return excess > 0
    ? `${formatSize(excess)} of the excess remain`
    : "the excess is covered";
}

function place(mapping: PagedataMapping): string {
  return `${hex(mapping.start)}-${hex(mappingEnd(mapping))} (${
    formatSize(mappingBytes(mapping))
  })`;
}
