/**
 * What rcap needs of an operating system beside its processes, for commands and the
 * daemon as a service. `main.ts` chooses one and hands it in.
 *
 * @module
 */

import type { FileCalls } from "../../ffi/file_calls.ts";
import type { NotifySocket } from "../../ffi/notify_socket.ts";
import type { Endpoint } from "../../ffi/socket.ts";
import type { Usage } from "../../ffi/usage.ts";
import type {
  Finding,
  MachineMemory,
  PagedataSourceName,
  Platform,
  ProcessId,
  ProjectCapSource,
} from "./platform.ts";

/** A signal that tells a daemon something. */
export type DaemonSignal = "SIGHUP" | "SIGUSR1";

/** One process: what is done through this reaches that process or none. */
export interface HeldProcess extends Disposable {
  /**
   * Sends a signal.
   *
   * @throws NoSuchProcess when it has ended.
   * @throws ProcessAccessDenied when this user may not.
   */
  signal(name: DaemonSignal): void;
}

/** What systemd wants of a service, and has to give it. */
export interface Systemd {
  /**
   * Opens a socket to the service manager.
   *
   * @param address as `NOTIFY_SOCKET` has it.
   * @throws SystemError when that is no address, or no descriptor is free.
   */
  notifySocket(address: string): Pick<NotifySocket, "send" | keyof Disposable>;
  /** Microseconds of the clock that the service manager compares with. */
  monotonicMicroseconds(): bigint;
  /** All capabilities that the daemon needs: capabilities(7). */
  readonly capabilities: readonly string[];
}

/** An operating system that rcap runs on: what it has, and what can be asked of it at once. */
export interface OperatingSystem {
  /** Names of the sources of reference bits, the better first. */
  readonly pagedataSources: readonly PagedataSourceName[];
  /** Whether a process is stopped while it is paged out. */
  readonly stopsToPageOut: boolean;
  /**
   * Opens the system's processes.
   *
   * @param choice which source of reference bits; `auto` takes the best that works.
   * @param warn told why, when `auto` does not get the best.
   * @param signal has nobody wait for a process any longer.
   * @throws CapabilityError when the chosen one does not work here.
   */
  open(
    choice: PagedataSourceName | "auto",
    warn: (message: string) => void,
    signal?: AbortSignal,
  ): Platform;
  /** Files, directories and locks. */
  readonly files: FileCalls;
  /** Where a daemon keeps its state unless told otherwise. */
  readonly stateDirectory: string;
  /**
   * What a service manager with the protocol of sd_notify(3) wants, on a system that
   * has one.
   */
  readonly systemd?: Systemd;
  /**
   * Seconds since some moment before this process started. Every process reads the
   * same, and nobody sets that clock.
   */
  boottimeSeconds(): number;
  /** What this process itself uses now. */
  ownUsage(): Usage;
  /** How many descriptors this process may have open. */
  openFilesLimit(): number;
  /**
   * Ends a TCP connection of this process in both directions, so that whatever waits
   * on it fails.
   *
   * @param local this side of it, and `remote` the other: no two connections have both.
   * @returns whether there is such a connection.
   */
  endConnection(local: Endpoint, remote: Endpoint): boolean;
  /**
   * A name for the processes that this one sees by their pids: two processes with
   * different names may give one pid to different processes. `null` where that is not
   * known.
   */
  processSpace(): string | null;
  /** Whether a process still runs; `unknown` where it cannot be seen. */
  fateOf(id: ProcessId): "runs" | "ended" | "unknown";
  /**
   * Holds exactly one process, to send it signals.
   *
   * @throws NoSuchProcess when it has ended.
   * @throws ProcessAccessDenied when this user may not.
   * @throws CapabilityError when this is refused whatever the process.
   */
  hold(id: ProcessId): HeldProcess;
  /** Whether SIGHUP is ignored, as nohup(1) has it, while nobody listens to it. */
  ignoresHangup(): boolean;
  /** Memory of the machine now. */
  memory(): MachineMemory;
  /**
   * The id of a user by name, from every source that the system knows; `undefined`
   * for none. It may take long, and nothing else waits meanwhile.
   *
   * @throws SystemError when it cannot be found out.
   */
  uidOfUser(name: string): Promise<number | undefined>;
  /** The id of a project by name, where the system has such; `undefined` for none. */
  projectIdOf?(name: string): number | undefined;
  /** The id of a zone by name, where the system has such; `undefined` for none. */
  zoneIdOf?(name: string): number | undefined;
  /** A new look at the caps of projects, where the system has such. */
  projectCaps?(): ProjectCapSource;
  /**
   * Makes sure that processes can be told apart: that what is read of a pid and what
   * is done with it are of the same process.
   *
   * @throws CapabilityError when they cannot.
   */
  requireOwnProcesses(): void;
  /**
   * Makes sure that the processes of every user can be scanned.
   *
   * @throws CapabilityError when a privilege is missing, or what is asked for is
   * refused whatever the privileges.
   */
  requirePrivileges(): Promise<void>;
  /** The processes that keep rcap from ending, since nothing ends its calls on them, by pid. */
  heldBy(): number[];
  /** Gives back memory that rcap itself holds and does not use, where that can be told. */
  trimOwnMemory(): void;
  /** Tries everything that rcap can use. */
  examine(): Promise<Finding[]>;
}
