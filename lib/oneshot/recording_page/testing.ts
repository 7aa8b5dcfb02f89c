/**
 * Help for tests: a recording of known processes whose names are markup.
 *
 * @module
 */

import { PagedataBuilder } from "../../memory/pagedata.ts";
import { PageBits } from "../../recording/page_bits.ts";
import {
  machineFigures,
  noFigures,
  PROCESS_FIGURES,
} from "../../recording/records.ts";
import { RecordingWriter } from "../../recording/writer.ts";

const PAGE = 4096;
const START = 0x7f0000000000;

/** Names that would run a script, load something, or end the data, if they could. */
const HOSTILE = [
  '</script><img src="//example.org/x" onerror="document.title=1">',
  "<!--<script>alert(1)</script>",
  "‮\x1b[31m\n]]>{{constructor}}\u2028",
];

/** How large a recording is. */
export interface SyntheticSize {
  /** Pages of the process. */
  readonly pages: number;
  readonly steps: number;
  /** Mappings that its memory is divided into, each with a name of this length at least. */
  readonly mappings: number;
  readonly nameLength: number;
}

/**
 * Writes a recording, an interval of 5 s each step, of one process of whose pages the first
 * quarter is in use, a random half of that in each interval.
 */
export function writeSynthetic(
  path: string,
  { pages, steps, mappings, nameLength }: SyntheticSize,
): void {
  using file = Deno.openSync(path, { write: true, createNew: true });
  const writer = new RecordingWriter((bytes) => file.writeSync(bytes), {
    rcap: "1.2.3",
    startedAt: 1_700_000_000,
    interval: 5,
    selectors: [HOSTILE[0]],
    pagedata: "pte",
    isAnonymous: false,
    pageIns: [],
  });
  const builder = new PagedataBuilder(pages);
  const start = BigInt(START);
  builder.addMapping({ start, pages, pageSize: PAGE, flags: 2 });
  builder.addPages(0, { count: pages, bits: 0 });
  const pagedata = builder.build();
  const used = new Uint8Array(pages);
  const units = Math.floor(pages / mappings);
  let spare = new PageBits();
  for (let step = 0; step < steps; step++) {
    writer.beginStep(
      (step + 1) * 5,
      machineFigures({
        totalMemory: 2 ** 34,
        availableMemory: 2 ** 33 - step * 2 ** 20,
        totalSwap: 2 ** 33,
        freeSwap: 2 ** 32 - step * PAGE,
      }, { pressure: step % 12 / 100 }),
    );
    if (step === 0) {
      writer.join({ pid: 1234, startTime: 1, comm: HOSTILE[1], uid: 0 });
      writer.mappings(
        0,
        Array.from({ length: mappings }, (_, at) => ({
          start: START / PAGE + at * units,
          units,
          pageSize: PAGE,
          flags: 2,
          isFile: at % 2 === 1,
          name: HOSTILE[at % HOSTILE.length] +
            `${at}`.padStart(nameLength, "ö"),
        })),
      );
    }
    const size = pages * PAGE;
    const figures = { rss: size, size, toSwap: size, majorFaults: step * 7 };
    writer.figures(0, {
      ...noFigures(PROCESS_FIGURES),
      ...figures,
      isRead: 1,
      swapped: step * PAGE,
    }, []);
    for (let page = 0; page < pages / 4; page++) {
      used[page] = Math.random() < 0.5 ? 1 : 0;
    }
    spare.take(pagedata, used, { moment: 1, most: 2 ** 20 });
    spare = writer.pages(0, spare);
    writer.endStep();
  }
  writer.end("done");
}
