/**
 * `rcap inspect --heat`: one observation of a process as one column of a heat map.
 *
 * @module
 */

import { requireProcess } from "../collection/members.ts";
import { SOON } from "../collection/observe.ts";
import { mappingBytes } from "../memory/pagedata.ts";
import { exclusive } from "../observer/exclusive_memory.ts";
import { systemClock } from "../platform/clock.ts";
import { progress } from "../platform/output.ts";
import { HeatLayout } from "../recording/heat_map.ts";
import { MOST_BLOCKS, RecordedProcess } from "../recording/records.ts";
import { PageAges } from "../scanner/ages.ts";
import { UNIT, unitOf } from "../scanner/moves.ts";
import {
  headOf,
  type InspectOptions,
  type ReportHead,
  warnOf,
} from "./inspect.ts";
import { type ReportedHeat, reportedHeat } from "./recording_report.ts";

/** What `rcap inspect --heat --json` prints. */
export interface HeatReport extends ReportHead {
  readonly heat: ReportedHeat;
}

/**
 * Observes a process once: all that is in memory, whether or not it can be paged out.
 *
 * @param rows the most rows.
 * @throws NoSuchProcess, ProcessAccessDenied if it cannot be read.
 */
export async function inspectHeat(
  { pid, observation, signal, log, platform, rights, clock = systemClock }:
    InspectOptions,
  rows: number,
): Promise<HeatReport> {
  const process = requireProcess(pid, platform);
  const { comm, startTime } = process;
  const memory = exclusive(platform.open(process), process, rights);
  await memory.checkAccess();
  await platform.costs?.({ ofPageIns: false });
  const ages = new PageAges();
  {
    using _progress = progress(
      `observing process ${pid} (${comm}) for ${observation / 1000} s…`,
    );
    const began = clock.now();
    await memory.reset();
    // Other programs may reset references, too: see watch.
    await clock.sleep(SOON, signal);
    signal.throwIfAborted();
    ages.look(await memory.read("inspect"));
    await clock.sleep(began + observation - clock.now(), signal);
    signal.throwIfAborted();
    ages.advance(
      await memory.read("inspect"),
      (clock.now() - began) / 1000,
    );
  }
  warnOf(memory, log);
  const recorded = new RecordedProcess(0, {
    pid,
    startTime,
    comm,
    uid: undefined,
  });
  const { pagedata } = ages;
  if (pagedata) {
    const moment = ages.lastMomentBefore(0);
    recorded.bits.take(pagedata, ages.used, { moment, most: MOST_BLOCKS });
    const named = await memory.readMappings();
    let at = 0;
    recorded.mappings = pagedata.mappings.map((mapping) => {
      while (at < named.length && named[at].end <= mapping.start) at++;
      const one = named[at];
      const isKnown = one !== undefined && one.start <= mapping.start;
      return {
        start: unitOf(mapping.start),
        units: mappingBytes(mapping) / UNIT,
        pageSize: mapping.pageSize,
        flags: mapping.flags,
        isFile: false,
        name: isKnown ? one.name : "",
      };
    });
  }
  const layout = new HeatLayout();
  layout.add(recorded, recorded.mappings);
  layout.times.push(observation / 1000);
  const map = layout.rows(rows, false).map(layout.times, 1);
  map.add(0, recorded);
  return {
    ...headOf({ process, memory, platform, log }, observation / 1000),
    heat: reportedHeat(map.build(), () => pid),
  };
}
