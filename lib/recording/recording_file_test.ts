/**
 * Tests of the files of recordings: what is said of a path where none can be.
 *
 * @module
 */

import { assertThrows } from "@std/assert";
import "../../ffi/testing.ts";
import { Folder } from "../../tests/support/folder.ts";
import { RcapError } from "../errors.ts";
import { system } from "../platform/system_testing.ts";
import { makeRecordingFile, openRecording } from "./recording_file.ts";

const { files } = system;

Deno.test("of a recording that does not exist, the message says what makes one", () => {
  using folder = new Folder();
  for (const name of ["none.rcap", "none/a.rcap"]) {
    const path = folder.file(name);
    assertThrows(
      () => openRecording(files, path),
      RcapError,
      `there is no file ${path}; rcap record makes a recording`,
    );
  }
});

Deno.test("of a place where no file can be made, the message names the option", () => {
  using folder = new Folder();
  const path = folder.file("none/a.rcap");
  assertThrows(
    () => makeRecordingFile(files, path),
    RcapError,
    `${path} cannot be made: open ${folder.path}/none: No such file or directory (ENOENT); choose another place with -o`,
  );
  // Nobody can make a file there.
  assertThrows(
    () => makeRecordingFile(files, "/proc/a.html", "--html"),
    RcapError,
    "; choose another place with --html",
  );
});
