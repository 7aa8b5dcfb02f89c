/**
 * Tests of the schema of the configuration. `tests/live/confined/json_schema_test.ts`
 * tests those of what commands print.
 *
 * @module
 */

import { assert } from "@std/assert";
import { Ajv } from "ajv";
import { parseToml } from "../../lib/config/toml.ts";
import { jsonSchemas } from "./json_schemas.ts";

const EXAMPLE = Deno.readTextFileSync(
  new URL("../../docs/rcap.toml.example", import.meta.url),
);

/** A TOML text as JSON has it: integers are numbers. */
function jsonOf(text: string): unknown {
  return JSON.parse(
    JSON.stringify(
      parseToml(text).value,
      (_key, value) => typeof value === "bigint" ? Number(value) : value,
    ),
  );
}

Deno.test("the schema of the configuration accepts the example, and refuses mistakes", () => {
  const ajv = new Ajv({ strict: false });
  const schema = jsonSchemas().get("rcap.toml.schema.json");
  assert(schema);
  const validate = ajv.compile(schema);
  const cap = '[[cap]]\nname = "a"\nselect = ["user:root"]\n';
  for (
    const text of [
      EXAMPLE,
      "",
      `${cap}max_rss = 1048576\nidle = 600`,
      `${cap}idle = "10m"\npriority = 7\nmax_swap_writes = "20G/day"`,
      '[daemon]\nsample_interval = 5\nprocess_interval = "2.5"',
    ]
  ) {
    assert(
      validate(jsonOf(text)),
      `${text}\n${ajv.errorsText(validate.errors)}`,
    );
  }
  for (
    const text of [
      "[[cap]]\nmax_rss = 1",
      `${cap}max_rs = "1G"`,
      `${cap}max_rss = "1X"`,
      `${cap}idle = "soon"`,
      `${cap}priority = 101`,
      cap.replace('["user:root"]', "[]"),
      '[daemon]\npolicy = "lru"',
      "[deamon]",
    ]
  ) {
    assert(!validate(jsonOf(text)), text);
  }
});
