/**
 * What commands print with `--json` conforms to the schemas that are published of it, and
 * every key is in them.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Ajv } from "ajv";
import { jsonSchemas, SCHEMAS } from "../../../scripts/package/json_schemas.ts";
import { cap, Place, QUICKLY, TestDaemon } from "../../support/daemon.ts";
import { requireRoot } from "../../support/live.ts";
import { rcap } from "../../support/rcap.ts";
import { Workload } from "../../support/workload.ts";

requireRoot();

const validated = new Set<string>();

/** Asserts that an output conforms to a schema. */
function assertConforms(name: keyof typeof SCHEMAS, output: unknown): void {
  validated.add(name);
  const schema = jsonSchemas().get(`${name}.schema.json`);
  assert(schema, name);
  for (const one of [schema, closed(schema)]) {
    const ajv = new Ajv({ allErrors: true, strict: false });
    const isValid = ajv.validate(one, output);
    assert(isValid, `${name}: ${ajv.errorsText()}\n${JSON.stringify(output)}`);
  }
}

/**
 * A schema that allows no keys but those that it names; the published ones do, because a
 * later version may add keys. Objects that say themselves that they are open stay so.
 */
function closed(schema: unknown): object {
  const text = JSON.stringify(
    schema,
    (_key, value) =>
      value?.type === "object" && value.properties !== undefined &&
        value.additionalProperties === undefined
        ? { ...value, additionalProperties: false }
        : value,
  );
  return JSON.parse(text);
}

/** Runs a command, and returns its output. */
async function json(args: string[], codes = [0]): Promise<unknown> {
  const { code, stdout, stderr } = await rcap([...args, "--json"]);
  assert(codes.includes(code), `${args.join(" ")}: ${code}\n${stderr}`);
  return JSON.parse(stdout);
}

Deno.test("what commands print of processes and the machine conforms to the schemas", async () => {
  await using workload = await Workload.start();
  const pid = `${workload.pid}`;
  const briefly = ["--observe", "200ms"];
  assertConforms("doctor", await json(["doctor"]));
  const mappings = await json(["inspect", pid, ...briefly]);
  assertConforms("inspect", mappings);
  assertConforms(
    "inspect-ages",
    await json(["inspect", pid, "--ages", "--observe", "1s"]),
  );
  // The type is what has just been validated.
  const [{ start }] = (mappings as { mappings: { start: string }[] }).mappings;
  assertConforms(
    "inspect-pages",
    await json(["inspect", pid, "--pages", start.slice(2), ...briefly]),
  );
  const scan = ["scan", pid, "--dry-run", ...briefly];
  assertConforms("scan", await json([...scan, "--excess", "1M"], [0, 3]));
  assertConforms("scan", await json([...scan, "--cap", "4K"], [0, 3]));
  assertConforms("size", await json(["size", pid, "--observe", "3s"]));
  assertConforms("restore", await json(["restore", pid]));
});

Deno.test("what commands print of a configuration and a daemon conforms to the schemas", async () => {
  await using workload = await Workload.start();
  const config = QUICKLY + cap("one", [`pid:${workload.pid}`], "1P");
  using place = new Place();
  Deno.writeTextFileSync(place.config, config);
  const files = ["--config", place.config];
  const once = await json(["run", "--once", ...files, ...place.stateArgs]);
  // A state in a file also names its pid namespace.
  assertConforms("run-once", { pidNamespace: null, ...once as object });
  assertConforms("check", await json(["check", ...files]));
  Deno.writeTextFileSync(place.config, "[[cap]]\nname = 1\n");
  assertConforms("check", await json(["check", ...files], [2]));
  await using daemon = await TestDaemon.start({ config });
  const { stateArgs } = daemon.place;
  assertConforms("stat", await json(["stat", "1", "1", ...stateArgs]));
  assertConforms("set", await json(["set", "one", "1P", ...stateArgs]));
  assertConforms("pause", await json(["pause", "one", ...stateArgs]));
  assertConforms("resume", await json(["resume", "one", ...stateArgs]));
});

Deno.test("every schema of an output was used", () => {
  const outputs = Object.keys(SCHEMAS).filter((name) => name !== "rcap.toml");
  assertEquals(Array.from(validated).sort(), outputs.sort());
});
