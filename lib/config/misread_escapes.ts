/**
 * Selectors in which TOML reads a backslash as the beginning of an escape, although
 * a name contains it: `"unit:foo@bar\x2dbaz"` is `foo@bar-baz`, and `"user:CORP\bob"`
 * has a backspace.
 *
 * @module
 */

import { escapeLine } from "../report/escape.ts";
import type { Fault } from "./config_schema.ts";
import { literalRemedy, type TomlNode, type TomlPath } from "./toml.ts";

/** Selectors by names that may contain backslashes, but no characters that need escapes. */
const NAMED = /^(?:unit|user):/;

/** An escape of TOML, of which only those of backslashes, quotes and letters are meant. */
const ESCAPE = /\\(?:x[0-9A-Fa-f]{2}|[^x])/gs;
const MEANT = /^\\["\\uU\s]/;

/** Finds the selectors in a file that TOML reads as something else than was written. */
export function misreadEscapes(root: TomlNode): Fault[] {
  const caps = root.children.get("cap")?.children ?? [];
  return [...caps].flatMap(([cap, { children }]) =>
    [...children.get("select")?.children ?? []].flatMap(([index, selector]) =>
      [selector, ...selector.children.values()].flatMap((node) =>
        misread(node, ["cap", cap, "select", index])
      )
    )
  );
}

function misread({ scalar, escaped }: TomlNode, path: TomlPath): Fault[] {
  if (typeof scalar !== "string" || escaped === undefined) return [];
  const escapes = escaped.match(ESCAPE)?.filter((one) => !MEANT.test(one));
  if (!NAMED.test(scalar) || !escapes?.length) return [];
  return [{
    path,
    message: escapeLine(
      `TOML reads ${
        escapes[0]
      } in double quotes as an escape, so the selector is "${scalar}"`,
    ),
    suggestion: escapeLine(literalRemedy(escaped)),
  }];
}
