/**
 * Tests of the files of recordings: what is said of a path where none can be.
 *
 * @module
 */

import { assertThrows } from "@std/assert";
import "../../ffi/testing.ts";
import { RcapError } from "../errors.ts";
import { system } from "../platform/system_testing.ts";
import { makeRecordingFile, openRecording } from "./recording_file.ts";

const { files } = system;

function inFolder(test: (folder: string) => void): void {
  const folder = Deno.makeTempDirSync({ prefix: "rcap-recording-file-" });
  try {
    test(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("of a recording that does not exist, the message says what makes one", () => {
  inFolder((folder) => {
    for (const path of [`${folder}/none.rcap`, `${folder}/none/a.rcap`]) {
      assertThrows(
        () => openRecording(files, path),
        RcapError,
        `there is no file ${path}; rcap record makes a recording`,
      );
    }
  });
});

Deno.test("of a place where no file can be made, the message names the option", () => {
  inFolder((folder) => {
    const path = `${folder}/none/a.rcap`;
    assertThrows(
      () => makeRecordingFile(files, path),
      RcapError,
      `${path} cannot be made: open ${folder}/none: No such file or directory (ENOENT); choose another place with -o`,
    );
    // Nobody can make a file there.
    assertThrows(
      () => makeRecordingFile(files, "/proc/a.html", "--html"),
      RcapError,
      "; choose another place with --html",
    );
  });
});
