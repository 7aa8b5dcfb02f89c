/**
 * Tests of finding memory file systems in a mountinfo.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { MemoryDevicesParser } from "./memory_devices.ts";

const encoder = new TextEncoder();

/** Returns the devices in a text that is pushed in parts of a given length. */
function devicesIn(text: string, part = Infinity): string[] {
  const parser = new MemoryDevicesParser();
  const bytes = encoder.encode(text);
  for (let at = 0; at < bytes.length; at += part) {
    parser.push(bytes.subarray(at, Math.min(at + part, bytes.length)));
  }
  return [...parser.devices];
}

const MOUNTINFO = `21 28 0:19 / /sys rw,nosuid shared:7 - sysfs sysfs rw
26 28 0:26 / /dev/shm rw,nosuid - tmpfs tmpfs rw
27 28 0:6 / /dev rw shared:2 master:1 - devtmpfs udev rw,size=1k
28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 28 0:4093 / /mnt/a\\040-\\040tmpfs\\040b rw - ext4 /dev/vdb rw
31 28 0:300 / /ram rw - ramfs ramfs rw
32 28 0:301 / /mnt/a-b rw - tmpfs a-b rw
`;

Deno.test("devices of memory file systems are found", () => {
  const devices = ["00:1a", "00:06", "00:12c", "00:12d"];
  assertEquals(devicesIn(MOUNTINFO), devices);
  assertEquals(devicesIn(""), []);
});

Deno.test("devices are found however the text is cut", () => {
  for (let part = 1; part < 80; part++) {
    assertEquals(devicesIn(MOUNTINFO, part), devicesIn(MOUNTINFO));
  }
});

Deno.test("a line of any length is skipped, and the next one is read", () => {
  const path = "/x".repeat(1 << 20);
  const text = `26 28 0:26 / ${path} rw - tmpfs tmpfs rw\n` + MOUNTINFO;
  assertEquals(devicesIn(text, 4096), devicesIn(MOUNTINFO));
  // As long as two paths can be.
  const long = `26 28 0:99 ${"/y".repeat(2000)} ${"/x".repeat(2000)} rw - `;
  assertEquals(devicesIn(`${long}tmpfs tmpfs rw\n`, 4096), ["00:63"]);
});

Deno.test("of 100,000 memory file systems a few thousand are kept", () => {
  let text = "";
  for (let device = 0; device < 100_000; device++) {
    text += `26 28 0:${device} / /mnt/${device} rw - tmpfs tmpfs rw\n`;
  }
  const { length } = devicesIn(text, 4096);
  assert(length > 1000 && length < 10_000, `${length} devices`);
});

Deno.test("a text that is not a mountinfo yields no device", () => {
  for (const text of ["\n\n", " - tmpfs \n", "- tmpfs", "1 2 - tmpfs x\n"]) {
    for (const device of devicesIn(text)) {
      assert(!device.includes("NaN"), `${device} in ${JSON.stringify(text)}`);
    }
  }
});
