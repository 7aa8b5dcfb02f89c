/**
 * Runs a script in a virtual machine and collects what it reports.
 *
 * @module
 */

import { allow, DEADLINE_SECONDS } from "../support/deadline.ts";
import type { Release } from "./debian.ts";
import { type InitramfsOptions, writeInitramfs } from "./initramfs.ts";
import { fetchKernel } from "./kernel.ts";
import { boot } from "./qemu.ts";

/** The machine to run it in. */
export interface GuestOptions
  extends Pick<InitramfsOptions, "init" | "scripts" | "program"> {
  release: Release;
  /** As for QEMU's `-cpu`. */
  cpu: string;
  /** The compiled rcap. */
  rcap: string;
  /** A program that becomes a virtual machine in it, if it is to have one. */
  virtualMachine?: string;
  /** See QEMU's options: `boot`. */
  countsInstructions?: boolean;
  timeoutSeconds: number;
}

/** How one command in the machine ended. */
export interface Step {
  name: string;
  code: number;
  stdout: string;
  stderr: string;
  /** Seconds since the kernel started. */
  begin: number;
  end: number;
}

/** The last lines of the console that a message about a failure repeats. */
const CONSOLE_LINES = 80;

/** Everything that is known of a machine that ran. */
export class Guest {
  readonly #steps: ReadonlyMap<string, Step>;
  readonly #console: string;

  constructor(results: string, console: string) {
    const lines = results.split("\n").filter((line) => line.endsWith("}"));
    this.#steps = new Map(
      lines.map(parseStep).map((step) => [step.name, step]),
    );
    this.#console = console;
  }

  /** A step, however it ended. */
  step(name: string): Step {
    const step = this.#steps.get(name);
    if (step !== undefined) return step;
    throw new Error(`the machine did not get as far as the step ${name}`);
  }

  /** A step that must have been a success; what it wrote. */
  output(name: string): string {
    const step = this.step(name);
    if (step.code !== 0) {
      throw new Error(
        `the step ${name} ended with ${step.code}: ${step.stderr}${step.stdout}`,
      );
    }
    return step.stdout;
  }

  /** A step that must have been a success and have written JSON. */
  json<T>(name: string): T {
    return JSON.parse(this.output(name));
  }

  /** Makes all that the machine wrote part of the message of an error. */
  explain(error: unknown): Error {
    const message = error instanceof Error ? error.message : String(error);
    const steps = [...this.#steps.values()].map((step) =>
      `${step.name} ended with ${step.code} after ${
        (step.end - step.begin).toFixed(1)
      } s\n${step.stdout}${step.stderr}`.trim()
    );
    const console = this.#console.trim().split(/\r?\n/).slice(-CONSOLE_LINES);
    return new Error(
      [
        message,
        "The steps in the machine:",
        ...steps,
        `The last ${CONSOLE_LINES} lines of its console:`,
        ...console,
      ].join("\n"),
      { cause: error },
    );
  }
}

/** Boots a machine that runs the script, and waits for its end. */
export async function runGuest(
  { release, rcap, virtualMachine, init, scripts, program, ...options }:
    GuestOptions,
): Promise<Guest> {
  // Packages may have to be fetched first.
  await allow(DEADLINE_SECONDS + options.timeoutSeconds);
  const kernel = await fetchKernel(release);
  const folder = await Deno.makeTempDir({ prefix: "rcap-vm-" });
  try {
    const initramfs = `${folder}/initramfs`;
    await writeInitramfs(initramfs, {
      release,
      kernel,
      rcap,
      virtualMachine,
      init,
      scripts,
      program,
    });
    const { image } = kernel;
    const result = await boot({ ...options, folder, image, initramfs });
    const guest = new Guest(result.results, result.console);
    if (result.failure === undefined) return guest;
    throw guest.explain(`the machine did not end well: ${result.failure}`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function parseStep(line: string): Step {
  const step: Step = JSON.parse(line);
  const { stdout, stderr } = step;
  return { ...step, stdout: decode(stdout), stderr: decode(stderr) };
}

function decode(base64: string): string {
  return new TextDecoder().decode(Uint8Array.fromBase64(base64));
}
