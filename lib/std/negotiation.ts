/**
 * Content negotiation of the Deno standard library, with its types: the npm copy
 * of the library is plain JavaScript.
 *
 * @module
 */

import * as std from "deno-std/http/negotiation.js";

/** Which of some types a request accepts most gladly; `undefined` when none. */
export const accepts: <T extends string>(
  request: Pick<Request, "headers">,
  ...types: T[]
) => T | undefined = std.accepts;
