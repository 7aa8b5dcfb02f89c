/**
 * Tests of what a daemon records, on a simulated machine and clock.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { POLICIES } from "../config/policy_names.ts";
import { SimulatedDaemon } from "../daemon/testing.ts";
import { hot, PAGE } from "../platform/fake_testing.ts";
import { operatingSystem } from "../platform/open.ts";
import { Log } from "../platform/output.ts";
import { openRecording } from "../recording/recording_file.ts";
import { Segments } from "../recording/segments.ts";
import { parseSelector } from "../collection/selectors.ts";
import { DaemonRecorder } from "./daemon_recorder.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();
const { files } = operatingSystem();

for (const policy of POLICIES) {
  Deno.test(`${policy}: a daemon records what it sees of its members, in segments`, async () => {
    const folder = Deno.makeTempDirSync({ dir: Deno.cwd(), prefix: ".rcap-" });
    try {
      const warnings: string[] = [];
      let recorder: DaemonRecorder | undefined;
      let segments: Segments | undefined;
      await using simulation = new SimulatedDaemon({
        caps: [{
          name: "one",
          select: [parseSelector("comm:one")],
          maxRss: 100_000 * PAGE,
          place: "test:1",
        }],
        policy,
        recorderOf: ({ platform, clock }) => {
          segments = Segments.open(files, folder, { limit: 16 * 700 });
          recorder = new DaemonRecorder({
            segments,
            platform,
            clock,
            log: new Log("warn", { write: (line) => warnings.push(line) }),
            interval: 1000,
            version: "1.2.3",
          });
          return recorder;
        },
      });
      const one = simulation.platform.start("one", hot("hot"));
      one.fill("hot", 300);
      one.fill("cold", 500);
      await simulation.run(180);
      one.exit();
      await simulation.run(20);
      recorder?.[Symbol.dispose]();
      segments?.[Symbol.dispose]();
      const names = [...Deno.readDirSync(folder)].map(({ name }) => name)
        .sort();
      assert(names.length >= 2, `${names}`);
      let [read, exits] = [0, 0];
      for (const name of names) {
        using recording = openRecording(files, `${folder}/${name}`);
        for (const { processes, left } of recording.reader.steps()) {
          exits += left.filter(({ reason }) => reason === "exited").length;
          for (const { figures, bits } of processes.values()) {
            assertEquals(figures.rss, 800 * PAGE);
            if (figures.isRead === 0 || read++ === 0) continue;
            assertEquals(bits.bytes.resident, 800 * PAGE);
            assert(bits.bytes.used >= 300 * PAGE);
          }
        }
        assert(recording.reader.end.how !== undefined, name);
      }
      assert(read >= 2, `${read} readings`);
      assertEquals(exits, 1);
      assertEquals(warnings, []);
      // It is far below its cap, and nothing was paged out.
      assertEquals(one.majorFaults, 0);
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  });
}
