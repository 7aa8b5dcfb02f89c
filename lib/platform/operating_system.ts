/**
 * The interface to an operating system besides its processes, for commands and the
 * daemon as a service. `main.ts` chooses one and passes it on.
 *
 * @module
 */

import type { ByteLocks, FileCalls } from "../../ffi/file_calls.ts";
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

/** A signal that a daemon handles. */
export type DaemonSignal = "SIGHUP" | "SIGUSR1";

/** One process. Signals sent through this reach that process or none. */
export interface HeldProcess extends Disposable {
  /**
   * Sends a signal.
   *
   * @throws NoSuchProcess if it has ended.
   * @throws ProcessAccessDenied if this user may not signal it.
   */
  signal(name: DaemonSignal): void;
}

/** The interface to systemd for a service. */
export interface Systemd {
  /**
   * Opens a socket to the service manager.
   *
   * @param address the value of `NOTIFY_SOCKET`.
   * @throws SystemError if the address is not valid, or no descriptor is free.
   */
  notifySocket(address: string): Pick<NotifySocket, "send" | keyof Disposable>;
  /** The time in microseconds, on the clock that the service manager uses. */
  monotonicMicroseconds(): bigint;
  /** The capabilities that the daemon needs: capabilities(7). */
  readonly capabilities: readonly string[];
}

/** How the rcaps of a machine agree which of them resets the references of a process. */
export interface ObserverPlace {
  /** A directory of root's that all of them share, whatever their state directories. */
  readonly directory: string;
  readonly locks: ByteLocks;
}

/** An operating system that rcap runs on. */
export interface OperatingSystem {
  /** Names of the sources of reference bits, the best first. */
  readonly pagedataSources: readonly PagedataSourceName[];
  /** Keys of a cap in the configuration that cannot be held on this system. */
  readonly missingCapKeys?: readonly string[];
  /** What goes first by default: the name of a policy. */
  readonly defaultPolicy: "clock" | "coldest";
  /** Whether a process is stopped while it is paged out. */
  readonly stopsToPageOut: boolean;
  /**
   * Opens the platform.
   *
   * @param choice the source of reference bits; `auto` takes the best that works.
   * @param warn called with the reason if `auto` does not take the best.
   * @param signal ends all waiting for processes.
   * @throws CapabilityError if the chosen source does not work here.
   */
  open(
    choice: PagedataSourceName | "auto",
    warn: (message: string) => void,
    signal?: AbortSignal,
  ): Platform;
  /** Files, directories and locks. */
  readonly files: FileCalls;
  /** The default state directory of a daemon. */
  readonly stateDirectory: string;
  /**
   * Where the rcaps of the machine agree which of them resets references; `undefined` if
   * each of them has reference bits of its own.
   */
  readonly observers?: ObserverPlace;
  /**
   * The interface to a service manager with the protocol of sd_notify(3), if the system
   * has one.
   */
  readonly systemd?: Systemd;
  /**
   * The time in seconds on a monotonic clock, which is the same for all processes.
   */
  boottimeSeconds(): number;
  /** The current resource usage of this process. */
  ownUsage(): Usage;
  /** How many descriptors this process may have open. */
  openFilesLimit(): number;
  /**
   * Shuts down a TCP connection of this process in both directions, so that everything
   * that waits on it fails.
   *
   * @param local this end; together with `remote`, the other end, it identifies the
   * connection.
   * @returns whether there is such a connection.
   */
  endConnection(local: Endpoint, remote: Endpoint): boolean;
  /**
   * A name for the set of processes that this process sees: where the names differ, one
   * pid may mean different processes. `null` if it is not known.
   */
  processSpace(): string | null;
  /** Whether a process still runs; `unknown` if it is not visible. */
  fateOf(id: ProcessId): "runs" | "ended" | "unknown";
  /**
   * Holds exactly one process, to send it signals.
   *
   * @throws NoSuchProcess if it has ended.
   * @throws ProcessAccessDenied if this user may not signal it.
   * @throws CapabilityError if the system refuses this for every process.
   */
  hold(id: ProcessId): HeldProcess;
  /** Whether SIGHUP is ignored, as under nohup(1). Only valid without a listener for it. */
  ignoresHangup(): boolean;
  /**
   * Why the kernel cannot be asked to reclaim the memory of the cgroup that is selected, in
   * words for users; `undefined` if it can, or no process is in one at the moment. Needs
   * no privileges. Only where the system has cgroups.
   *
   * @param matches as for `Platform.reclaimable`.
   */
  whyNotReclaimable?(matches: (path: string) => boolean): string | undefined;
  /** The current state of the machine's memory. */
  memory(): MachineMemory;
  /**
   * The id of a user by name, from all sources of the system; `undefined` if there is no
   * such user. May take long, but does not block the event loop.
   *
   * @throws SystemError if the lookup fails.
   */
  uidOfUser(name: string): Promise<number | undefined>;
  /**
   * Looks the names of users and containers up in the file system of the machine, which a
   * container has mounted in a directory: from the next call on.
   *
   * @throws UsageError if that is not a file system of a machine.
   * @throws RcapError if others can change it.
   */
  useHostRoot?(directory: string): void;
  /** The id of a project by name, if the system has projects; `undefined` if there is none of that name. */
  projectIdOf?(name: string): number | undefined;
  /** The id of a zone by name, if the system has zones; `undefined` if there is none of that name. */
  zoneIdOf?(name: string): number | undefined;
  /** A new source of the caps of projects, if the system has projects. */
  projectCaps?(): ProjectCapSource;
  /**
   * Checks that reading a pid and acting on it concern the same process.
   *
   * @throws CapabilityError if they do not.
   */
  requireOwnProcesses(): void;
  /**
   * Checks that the processes of every user can be scanned.
   *
   * @throws CapabilityError if a privilege is missing, or the system refuses a call
   * regardless of privileges.
   */
  requirePrivileges(): Promise<void>;
  /** The pids of processes that keep rcap from ending, because its calls on them cannot be ended. */
  heldBy(): number[];
  /** Gives unused memory of rcap itself back to the system, as far as it is known. */
  trimOwnMemory(): void;
  /** Tries every capability that rcap can use. */
  examine(): Promise<Finding[]>;
}
