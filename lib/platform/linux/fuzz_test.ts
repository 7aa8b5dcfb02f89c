/**
 * Fuzz tests of the parsers of `/proc`: each returns plausible values or throws
 * `SyntaxError`, and nothing else.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import "../../../ffi/testing.ts";
import {
  badNumbers,
  damagedTexts,
  fuzz,
} from "../../../tests/support/fuzzing.ts";
import { isOutside, parseCgroups, systemdPath } from "./cgroups.ts";
import { parseMemAvailable, realUid } from "./linux_platform.ts";
import { MemoryDevicesParser } from "./memory_devices.ts";
import { parseRollup, parseStatm } from "./memory_files.ts";
import { mountOf, parseMountinfo } from "./mountinfo.ts";
import { isOwn, parseProcOptions } from "./own_proc.ts";
import { parseSmaps } from "./testing.ts";
import { parseStat, statFields } from "./stat.ts";
import { parseSwaps } from "./swaps.ts";

const STAT =
  "4242 (perl) S 17 4242 17 34816 4242 4194304 500 0 7 0 3 1 0 0 20 0 1 0 987654 " +
  "12345678 900 18446744073709551615 21845 2 3 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 " +
  "4 5 6 7 8 9 10 0\n";
const HOSTILE_STAT = STAT.replace("perl", ") R 1 (Z) ");

const MAPS =
  "55c79c0b6000-55c79c0b8000 r-xp 00002000 fe:01 1234                       /usr/bin/a b\n" +
  "7ffc1000-7ffc2000 rw-p 00000000 00:00 0                          [stack]\n" +
  "7ffd1000-7ffd2000 rw-s 00000000 00:01 5 /memfd:x\\012y (deleted)\n" +
  "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";
const SMAPS = `55c79c0b6000-55c79c0b8000 rw-p 00002000 fe:01 1234    /usr/bin/a
Size:                  8 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                   8 kB
Pss:                   4 kB
Shared_Clean:          4 kB
Shared_Dirty:          0 kB
Private_Clean:         0 kB
Private_Dirty:         4 kB
Referenced:            8 kB
Anonymous:             4 kB
Swap:                  0 kB
SwapPss:               0 kB
Locked:                0 kB
THPeligible:           0
VmFlags: rd wr mr mw me ac sd
7ffc1000-7ffc2000 rw-p 00000000 00:00 0                          [stack]
Rss:                   4 kB
VmFlags: rd wr mr mw me gd ac
`;

const STATUS =
  "Name:\tperl\\nUid:\t0\nUmask:\t0022\nState:\tS (sleeping)\nPid:\t42\n" +
  "Uid:\t1000\t1001\t1002\t1003\nGid:\t0\t0\t0\t0\nSigIgn:\t0000000000001000\n";

const MOUNTINFO = "22 27 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n" +
  "25 27 0:23 / /run rw,nosuid shared:5 master:1 - tmpfs tmpfs rw,size=1\n" +
  "26 27 254:1 / /a\\040b rw - ext4 /dev/vda1 rw\n";

/** Returns the result of a parser; `undefined` if it rejects the text as malformed. */
function resultOf<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return undefined;
  }
}

Deno.test("fuzz: stat", () => {
  fuzz(damagedTexts([STAT, HOSTILE_STAT]), 20_000, (text) => {
    const entry = resultOf(() => parseStat(text));
    assertEquals(badNumbers(entry), []);
    assert(!entry || Number.isSafeInteger(entry.pid));
    for (const field of statFields(text)) assertEquals(typeof field, "string");
  });
});

const encoder = new TextEncoder();

Deno.test("fuzz: maps and smaps", () => {
  fuzz(damagedTexts([SMAPS, MAPS, SMAPS + MAPS]), 20_000, (text) => {
    const mappings = resultOf(() => parseSmaps(encoder.encode(text))) ?? [];
    assertEquals(badNumbers(mappings), []);
    let last = 0n;
    for (const { start, end, perm } of mappings) {
      assert(last <= start && start < end, `${last}, ${start} to ${end}`);
      assertEquals(perm.length, 4);
      last = end;
    }
  });
});

Deno.test("fuzz: status", () => {
  assertEquals(realUid(STATUS), 1000);
  fuzz(damagedTexts([STATUS]), 5000, (text) => {
    assertEquals(badNumbers(resultOf(() => realUid(text))), []);
  });
});

Deno.test("fuzz: mountinfo", () => {
  fuzz(damagedTexts([MOUNTINFO]), 5000, (text) => {
    const parser = new MemoryDevicesParser();
    parser.push(new TextEncoder().encode(text));
    for (const device of parser.devices) {
      assert(/^[0-9a-f]{2,}:[0-9a-f]{2,}$/.test(device), device);
    }
  });
});

const STATM = "2345 678 90 1 0 345 0\n";
const ROLLUP =
  "55c79c0b6000-7ffd2000 ---p 00000000 00:00 0    [rollup]\nRss:   8 kB\nPss:                4 kB\nPss_Anon: 1 kB\nAnonymous: 2 kB\n";
const MEMINFO = "MemTotal: 100 kB\nMemAvailable:   23456 kB\nSwapTotal: 0 kB\n";
const SWAPS =
  "Filename\tType\tSize\tUsed\tPriority\n/dev/zram0 partition 1 0 -2\n";
const CGROUP =
  "12:memory:/a:b\n1:name=systemd:/system.slice/nginx.service\n0::/../x\n";

Deno.test("fuzz: the small files of /proc", () => {
  assertEquals(parseStatm(STATM).rss % 678, 0);
  assertEquals(parseRollup(ROLLUP), {
    rss: 8192,
    fileRss: 6144,
    proportional: 4096,
    fileProportional: 3072,
  });
  assertEquals(parseMemAvailable(MEMINFO), 23456 * 1024);
  assertEquals(parseSwaps(SWAPS).map(({ path }) => path), ["/dev/zram0"]);
  assertEquals(
    systemdPath(parseCgroups(CGROUP)),
    "/system.slice/nginx.service",
  );
  const others = [ROLLUP, MEMINFO, SWAPS, CGROUP, STATUS, MOUNTINFO];
  fuzz(damagedTexts([STATM, ...others]), 10_000, (text) => {
    assertEquals(badNumbers(resultOf(() => parseStatm(text))), []);
    assertEquals(badNumbers(resultOf(() => parseRollup(text))), []);
    assertEquals(badNumbers(parseMemAvailable(text)), []);
    for (const { path } of parseSwaps(text)) assert(!/\s/.test(path), path);
    const places = parseCgroups(text);
    assert(places.length <= text.split("\n").length);
    assert(!isOutside(systemdPath(places) ?? "") || text.includes("/.."));
    mountOf("/a b", parseMountinfo(text));
    assertEquals(badNumbers(parseProcOptions(text)), []);
    isOwn("42", text, 42);
  });
});
