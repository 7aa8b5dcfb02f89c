/**
 * Looks up users by name before selectors are parsed, without waiting for a name
 * service that does not answer.
 *
 * A number may be the name of a user, and names come first, as POSIX has it for
 * chown(1) and `find -user`. With a plus sign, as chown(1) of GNU has it, it is a
 * user id and nothing else.
 *
 * @module
 */

import { EXIT_CODES, SystemError, UsageError } from "../errors.ts";
import { BoundedCalls, NoAnswer } from "../platform/bounded_calls.ts";
import type { OperatingSystem } from "../platform/operating_system.ts";

/**
 * The name service has not answered whether a user exists. A later lookup may
 * succeed.
 */
export class UserNotKnown extends UsageError {
  override name = "UserNotKnown";
  override readonly exitCode = EXIT_CODES.failed.code;
}

/** The most simultaneous lookups, and how long a caller waits, in milliseconds. */
const LOOKUPS = { places: 2, milliseconds: 5000 };

/** The result of the last lookup of a name. */
interface Answer {
  /** `undefined` if there is no such user or none has ever been found. */
  readonly uid: number | undefined;
  /** Why the last lookup failed; `undefined` if it succeeded. */
  readonly failure: string | undefined;
}

/** How names of users, and of projects and zones where there are such, become ids. */
export type NameLookup = Pick<
  OperatingSystem,
  "uidOfUser" | "projectIdOf" | "zoneIdOf"
>;

/** The users that have been looked up. */
export class Users {
  readonly #answers = new Map<string, Answer>();
  readonly #calls: BoundedCalls;
  /** Looks names up: those of projects and zones at once. */
  readonly names: NameLookup;

  /** @param calls limits how many lookups there are at a time, and how long they take. */
  constructor(names: NameLookup, calls = new BoundedCalls(LOOKUPS)) {
    this.names = names;
    this.#calls = calls;
  }

  /**
   * Looks up the users that selectors name.
   *
   * @param selectors as written; everything but `user:NAME` is ignored.
   * @param signal ends the lookup early.
   * @returns messages about users who could not be looked up and keep their
   * previous uid, or whose name is a number, which is taken for the uid.
   * @throws the signal's reason if it is aborted.
   */
  async lookUp(
    selectors: Iterable<string>,
    signal?: AbortSignal,
  ): Promise<string[]> {
    const names = new Set<string>();
    for (const text of selectors) {
      const name = /^user:(.+)$/s.exec(text)?.[1];
      if (name !== undefined && !name.startsWith(EXACT)) names.add(name);
    }
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    aborted.catch(() => {});
    const abort = () => reject(signal?.reason);
    signal?.throwIfAborted();
    signal?.addEventListener("abort", abort);
    try {
      const lookups = [...names].map((name) => this.#ask(name));
      return (await Promise.race([Promise.all(lookups), aborted])).flat();
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  async #ask(name: string): Promise<string[]> {
    try {
      const uid = await this.#calls.make(
        name,
        () => this.names.uidOfUser(name),
      );
      this.#answers.set(name, { uid, failure: undefined });
      return [];
    } catch (error) {
      if (!(error instanceof NoAnswer || error instanceof SystemError)) {
        throw error;
      }
      const failure =
        `the name service did not resolve user "${name}" (${error.message})`;
      const uid = this.#answers.get(name)?.uid;
      this.#answers.set(name, { uid, failure });
      if (uid !== undefined) {
        return [`${failure}; uid ${uid} is used, as before`];
      }
      return NUMBER.test(name) ? [`${failure}; uid ${name} is used`] : [];
    }
  }

  /**
   * Returns the id of a user.
   *
   * @param name a name; or an id, which need not belong to any user, if it is not
   * known to be a name.
   * @param selector the whole selector, for the message.
   * @throws UsageError if there is no such user, or no process can have the id.
   * @throws UserNotKnown if the name service has not answered.
   */
  uidOf(name: string, selector: string): number {
    const { uid, failure } = this.#answers.get(name) ??
      { uid: undefined, failure: `user "${name}" was not looked up` };
    if (uid !== undefined) return possible(uid, selector);
    const number = NUMBER.exec(name)?.[1];
    if (number !== undefined) return possible(Number(number), selector);
    if (failure !== undefined) {
      throw new UserNotKnown(
        `selector "${selector}": ${failure}`,
        "try again, or write the uid with a plus sign, as in user:+1000, which needs no name service",
      );
    }
    throw new UsageError(
      `selector "${selector}": there is no user "${name}"`,
      "getent passwd lists the users",
    );
  }
}

/** Begins a number that is an id, even if a user has the number as name. */
const EXACT = "+";

/** A number that may be an id. */
const NUMBER = /^\+?(\d+)$/;

/**
 * The largest user id of a process. The next one, -1 in 32 bits, means "no change":
 * setresuid(2), and setreuid(2) of illumos.
 */
const LARGEST_UID = 2 ** 32 - 2;

/** @throws UsageError if no process can have this user id. */
function possible(uid: number, selector: string): number {
  if (uid <= LARGEST_UID) return uid;
  throw new UsageError(
    `selector "${selector}": no process can have the user id ${uid}`,
    `a user id is a whole number from 0 to ${LARGEST_UID}`,
  );
}
