/**
 * The notation in which the documentation describes JSON: `{version, groups: [{name}]}`.
 *
 * @module
 */

/** The keys of an object, with those of objects in it, or in arrays in it. */
export type Keys = { [key: string]: Keys };

/** Returns the keys of every object that a page describes from its `version` on. */
export function notationsIn(page: string): Keys[] {
  return [...page.matchAll(/`(\{version[^`]*\})`/g)]
    .map(([, text = ""]) => parseNotation(text));
}

/** @throws Error if the text is not in the notation. */
export function parseNotation(text: string): Keys {
  const tokens = text.match(/[{}[\],:]|[^\s{}[\],:]+/g) ?? [];
  let at = 0;
  const expect = (token: string) => {
    if (tokens[at++] !== token) throw new Error(`not a notation: ${text}`);
  };
  const object = (): Keys => {
    expect("{");
    const keys: Keys = {};
    while (true) {
      const key = tokens[at++] ?? "";
      keys[key] = {};
      if (tokens[at] === ":") {
        at++;
        const isArray = tokens[at] === "[";
        if (isArray) at++;
        keys[key] = object();
        if (isArray) expect("]");
      }
      if (tokens[at] !== ",") break;
      at++;
    }
    expect("}");
    return keys;
  };
  return object();
}

/** Returns the keys of a value that was read from JSON; of an array, those of all items. */
export function keysOf(value: unknown): Keys {
  if (Array.isArray(value)) {
    return value.map(keysOf).reduce(merged, {});
  }
  if (typeof value !== "object" || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, keysOf(item)]),
  );
}

/** Returns the keys that a JSON Schema names. */
export function keysOfSchema(schema: unknown, root: unknown = schema): Keys {
  if (typeof schema !== "object" || schema === null) return {};
  const { $ref, anyOf, items, properties } = schema as Schema;
  if ($ref !== undefined) {
    const definitions = (root as Schema).$defs ?? {};
    return keysOfSchema(definitions[$ref.replace("#/$defs/", "")], root);
  }
  if (anyOf) {
    return anyOf.map((one) => keysOfSchema(one, root)).reduce(merged, {});
  }
  if (items !== undefined) return keysOfSchema(items, root);
  return Object.fromEntries(
    Object.entries(properties ?? {})
      .map(([key, value]) => [key, keysOfSchema(value, root)]),
  );
}

/** The part of a JSON Schema that says which keys there are. */
interface Schema {
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, unknown>>;
  readonly anyOf?: readonly unknown[];
  readonly items?: unknown;
  readonly properties?: Readonly<Record<string, unknown>>;
}

function merged(a: Keys, b: Keys): Keys {
  const keys = { ...a };
  for (const [key, inner] of Object.entries(b)) {
    keys[key] = merged(keys[key] ?? {}, inner);
  }
  return keys;
}

/**
 * Returns what is in one of two but not in both, as paths: `groups.name`. Below a key for
 * which the notation has no inner keys, nothing is compared.
 */
export function differences(notation: Keys, real: Keys, path = ""): string[] {
  const names = new Set([...Object.keys(notation), ...Object.keys(real)]);
  return [...names].flatMap((name) => {
    const [documented, found] = [notation[name], real[name]];
    if (documented === undefined) return [`${path}${name} is not documented`];
    if (found === undefined) return [`${path}${name} is not there`];
    const inner = Object.keys(documented).length > 0 &&
      Object.keys(found).length > 0;
    return inner ? differences(documented, found, `${path}${name}.`) : [];
  });
}
