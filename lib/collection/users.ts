/**
 * Users by name: looked up before selectors are parsed, without waiting for a name
 * service that does not answer.
 *
 * @module
 */

import { EXIT_CODES, SystemError, UsageError } from "../errors.ts";
import { BoundedCalls, NoAnswer } from "../platform/bounded_calls.ts";
import type { OperatingSystem } from "../platform/operating_system.ts";

/** The name service has not told whether there is a user; it may later. */
export class UserNotKnown extends UsageError {
  override name = "UserNotKnown";
  override readonly exitCode = EXIT_CODES.failed.code;
}

/** How many names are asked for at a time, and for how long anybody waits, in milliseconds. */
const LOOKUPS = { places: 2, milliseconds: 5000 };

/** What the last lookup of a name came to. */
interface Answer {
  /** `undefined` where there is no such user, or none was ever found. */
  readonly uid: number | undefined;
  /** Why it is not known what is so now; `undefined` when it is. */
  readonly failure: string | undefined;
}

/** How names of users, and of projects and zones where there are such, become ids. */
export type NameLookup = Pick<
  OperatingSystem,
  "uidOfUser" | "projectIdOf" | "zoneIdOf"
>;

/** What is known of users by name. */
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
   * Looks the users up that selectors name.
   *
   * @param selectors as they are written; what is no `user:NAME` is passed over.
   * @param signal ends it early.
   * @returns for a person: which users could not be looked up and are taken for
   * whom they were before.
   * @throws the signal's reason when it is aborted.
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
        `the name service has not told who user "${name}" is (${error.message})`;
      const uid = this.#answers.get(name)?.uid;
      this.#answers.set(name, { uid, failure });
      return uid === undefined
        ? []
        : [`${failure}; it is taken for uid ${uid}, as before`];
    }
  }

  /**
   * The id of a user.
   *
   * @param name or an id, which need not belong to anybody.
   * @param selector where it stands, for the message.
   * @throws UsageError when there is no such user.
   * @throws UserNotKnown when the name service has not told.
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
      "getent passwd lists those there are",
    );
  }
}

function isUid(name: string): boolean {
  return /^\d+$/.test(name);
}
