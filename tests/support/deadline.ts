/**
 * Gives every test a deadline that ends what it has started. To import this module
 * is enough, directly or by way of `rcap.ts`, `workload.ts`, `swap.ts` or
 * `ffi/testing.ts`: from then on each `Deno.test` of the importing module has one.
 *
 * A test that is not over in time fails and says what it waited for. Before that,
 * `fixtures/watchdog.pl` has killed every process that descends from the test's, so
 * that whoever waits for one goes on, and the test takes away what it has made. The
 * watchdog is a process of its own: a test that blocks its thread cannot hold it
 * up, and when the tests themselves are killed, it ends what they have left.
 *
 * - {@linkcode allow} gives a test more time than {@linkcode DEADLINE_SECONDS}.
 * - {@linkcode waitingFor} tells what is waited for; `until`, the commands of a
 *   workload and runs of rcap do that already.
 *
 * Modules of tests must not run in parallel: all processes count as those of the
 * test that runs.
 *
 * @module
 */

const WATCHDOG = new URL("../fixtures/watchdog.pl", import.meta.url).pathname;

/** How long a test may take unless it is allowed more. */
export const DEADLINE_SECONDS = 180;

/** How long a test may take to end once its processes have been ended. */
const GRACE_MS = 30_000;

/** What is waited for, and what was when the time was over. */
const waits = new Set<{ readonly what: string }>();
/** When the time of the running test is over, as `performance.now()` has it. */
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

  /** Waits for a line, which comes at the deadline or at the end of the test. */
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

/**
 * Gives the running test so many seconds from now on, instead of what it had left.
 */
export async function allow(seconds: number): Promise<void> {
  deadline = performance.now() + seconds * 1000;
  await watchdog?.tell(`more ${seconds}`);
}

/**
 * Waits for something, which is named where the test fails for taking too long.
 *
 * @param what what is waited for, as the end of a sentence.
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
    // What ends later ends because its process has been ended.
    if (performance.now() < deadline) waits.delete(wait);
  }
}

type Test = (context: Deno.TestContext) => void | Promise<void>;

/** A test that fails at its deadline, and has no processes then. */
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
    // Nothing where the test has ended in time.
    const ended = await answered;
    const end = await inTime(outcome);
    if (!isOver) await ours.tell("end");
    const cause = typeof end === "object" ? end.error : undefined;
    if (ended !== "") {
      const seconds = Math.round((deadline - began) / 1000);
      const waited = [...waits].map(({ what }) => what).join("; ");
      throw new Error(
        `"${name}" was not over after ${seconds} s: it waited for ${
          waited || "nothing that is known"
        }. Its processes were ended: ${ended}.` +
          (end === "never" ? " It does not end even so." : ""),
        { cause },
      );
    }
    if (typeof end === "object") throw end.error;
  };
}

/** Waits for the end of a test that has no processes any more. */
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
