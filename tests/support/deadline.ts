/**
 * Gives every test a deadline at which the processes that it has started are ended.
 * Importing this module is enough, directly or through `rcap.ts`, `workload.ts`,
 * `swap.ts` or `ffi/testing.ts`: every later `Deno.test` of the importing module
 * has a deadline.
 *
 * A test that exceeds it fails and reports what it waited for. Before that,
 * `fixtures/watchdog.pl` has killed every descendant of the test's process, so that
 * waits for them end and the test cleans up. The watchdog is a separate process: a
 * test that blocks its thread cannot delay it, and if the tests themselves are
 * killed, it ends the processes that they leave.
 *
 * - {@linkcode allow} gives a test more time than {@linkcode DEADLINE_SECONDS}.
 * - {@linkcode waitingFor} names what a test waits for; `until`, the commands of a
 *   workload and runs of rcap do that already.
 *
 * Test modules must not run in parallel, because all processes count as those of
 * the running test.
 *
 * @module
 */

const WATCHDOG = new URL("../fixtures/watchdog.pl", import.meta.url).pathname;

/** How long a test may take unless it is allowed more time. */
export const DEADLINE_SECONDS = 180;

/** How long a test may take to end after its processes have been ended. */
const GRACE_MS = 30_000;

/** What the test waits for, or waited for when its time was over. */
const waits = new Set<{ readonly what: string }>();
/** The deadline of the running test, on the clock of `performance.now()`. */
let deadline = Infinity;

let watchdog: Watchdog | undefined;

/** The process that watches the tests of this module. */
class Watchdog {
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #answers: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;

  constructor() {
    const child = new Deno.Command("perl", {
      args: [WATCHDOG, `${2 * GRACE_MS / 1000}`],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#input = child.stdin.getWriter();
    this.#answers = child.stdout.getReader();
  }

  async tell(command: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(`${command}\n`));
  }

  /** Waits for a line, which arrives at the deadline or at the end of the test. */
  async answer(): Promise<string> {
    let text = "";
    const decoder = new TextDecoder();
    while (!text.endsWith("\n")) {
      const { done, value } = await this.#answers.read();
      if (done) throw new Error("the watchdog of the tests has ended");
      text += decoder.decode(value, { stream: true });
    }
    return text.trimEnd();
  }
}

/** Sets the deadline of the running test to this many seconds from now. */
export async function allow(seconds: number): Promise<void> {
  deadline = performance.now() + seconds * 1000;
  await watchdog?.tell(`more ${seconds}`);
}

/**
 * Waits for something and names it if the test exceeds its deadline.
 *
 * @param what what the test waits for, as the end of a sentence.
 */
export async function waitingFor<T>(
  what: string,
  promise: Promise<T>,
): Promise<T> {
  const wait = { what };
  waits.add(wait);
  try {
    return await promise;
  } finally {
    // What ends after the deadline ends because its process was ended.
    if (performance.now() < deadline) waits.delete(wait);
  }
}

type Test = (context: Deno.TestContext) => void | Promise<void>;

/** Makes a test fail at its deadline, after its processes have been ended. */
function bounded(test: Test): Test {
  const ours = watchdog ??= new Watchdog();
  return async (context) => {
    const name = context.name.replaceAll("\n", " ");
    const began = performance.now();
    waits.clear();
    deadline = began + DEADLINE_SECONDS * 1000;
    await ours.tell(`begin ${DEADLINE_SECONDS} ${name}`);
    const answered = ours.answer();
    const outcome = (async () => await test(context))().then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    const isOver = await Promise.race([
      outcome.then(() => true),
      answered.then(() => false),
    ]);
    if (isOver) await ours.tell("end");
    // Empty if the test has ended in time.
    const ended = await answered;
    const end = await inTime(outcome);
    if (!isOver) await ours.tell("end");
    const cause = typeof end === "object" ? end.error : undefined;
    if (ended !== "") {
      const seconds = Math.round((deadline - began) / 1000);
      const waited = [...waits].map(({ what }) => what).join("; ");
      throw new Error(
        `"${name}" was not over after ${seconds} s: it waited for ${
          waited || "nothing known"
        }. Its processes were ended: ${ended}.` +
          (end === "never" ? " It still does not end." : ""),
        { cause },
      );
    }
    if (typeof end === "object") throw end.error;
  };
}

/** Waits for the end of a test whose processes have been ended. */
async function inTime<T>(outcome: Promise<T>): Promise<T | "never"> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const never = new Promise<"never">((resolve) => {
    timer = setTimeout(resolve, GRACE_MS, "never");
  });
  try {
    return await Promise.race([outcome, never]);
  } finally {
    clearTimeout(timer);
  }
}

/** `Deno.test` in all of its forms: the function is the last argument or in the first. */
function boundedTest(...args: unknown[]): void {
  Reflect.apply(
    unbounded,
    Deno,
    args.map((argument) => {
      if (isTest(argument)) return bounded(argument);
      if (typeof argument !== "object" || argument === null) return argument;
      if (!("fn" in argument) || !isTest(argument.fn)) return argument;
      return { ...argument, fn: bounded(argument.fn) };
    }),
  );
}

function isTest(value: unknown): value is Test {
  return typeof value === "function";
}

const unbounded = Deno.test;
Object.defineProperty(Deno, "test", {
  value: Object.assign(boundedTest, unbounded),
});
