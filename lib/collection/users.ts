/**
 * Looks up users by name before selectors are parsed, without waiting for a name
 * service that does not answer.
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
   * previous uid.
   * @throws the signal's reason if it is aborted.
   */
  async lookUp(
    selectors: Iterable<string>,
    signal?: AbortSignal,
  ): Promise<string[]> {
    const names = new Set<string>();
    for (const text of selectors) {
      const name = /^user:(.+)$/s.exec(text)?.[1];
      if (name !== undefined && !isUid(name)) names.add(name);
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
      return uid === undefined
        ? []
        : [`${failure}; uid ${uid} is used, as before`];
    }
  }

  /**
   * Returns the id of a user.
   *
   * @param name a name, or an id, which need not belong to any user.
   * @param selector the whole selector, for the message.
   * @throws UsageError if there is no such user.
   * @throws UserNotKnown if the name service has not answered.
   */
  uidOf(name: string, selector: string): number {
    if (isUid(name)) return Number(name);
    const { uid, failure } = this.#answers.get(name) ??
      { uid: undefined, failure: `user "${name}" was not looked up` };
    if (uid !== undefined) return uid;
    if (failure !== undefined) {
      throw new UserNotKnown(
        `selector "${selector}": ${failure}`,
        "try again, or write the uid, which needs no name service",
      );
    }
    throw new UsageError(
      `selector "${selector}": there is no user "${name}"`,
      "getent passwd lists the users",
    );
  }
}

function isUid(name: string): boolean {
  return /^\d+$/.test(name);
}
