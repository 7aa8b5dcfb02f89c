/**
 * Fuzz tests of the configuration.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { system } from "../platform/system_testing.ts";
import "../../ffi/testing.ts";
import { badNumbers, damagedTexts, fuzz } from "../../tests/support/fuzzing.ts";
import { Users } from "../collection/users.ts";
import { understand } from "./config_schema.ts";
import { lineOf, parseToml, TomlError } from "./toml.ts";
import { unknownKeys } from "./unknown_keys.ts";

const TOML = `# a comment
[daemon]
sample_interval = "5s"
process_interval = "1500ms"
enforcement_threshold = "80.5%"
policy = "coldest"
pagedata = "auto"

[[cap]]
name = "web"
select = ["unit:nginx", "exe:/usr/sbin/php-fpm*", 'comm:a']
max_rss = "2G"

[[cap]]
name = "other"
select = ["pid:1", "tree:2", "user:0"]
max_rss = 1073741824
`;
const OTHER_TOML = `cap = [{ name = "a", select = ["pid:1"], max_rss = "50%" }]
daemon.report_interval = "1h"
x.y = [1, 1.5, true, 1979-05-27T07:32:00Z, """
text""", inf, nan, 0xff]
`;

Deno.test("fuzz: TOML and the schema", () => {
  const surroundings = {
    totalMemory: 2 ** 34,
    users: new Users(system),
    system,
  };
  fuzz(damagedTexts([TOML, OTHER_TOML]), 15_000, (text) => {
    try {
      const { root, value } = parseToml(text);
      const { settings, faults } = understand(value, surroundings);
      assertEquals(badNumbers(settings), []);
      // Every fault has a message and a place.
      for (const { message, path } of [...faults, ...unknownKeys(root)]) {
        assert(message !== "" && lineOf(root, path) >= 1, message);
      }
    } catch (error) {
      if (!(error instanceof TomlError)) throw error;
      assert(error.line >= 0 && error.message !== "");
    }
  });
});
