/**
 * Where the rcaps of a Linux machine agree which of them observes a process. The
 * permissions of rcap name it, too.
 *
 * @module
 */

/** A directory in the default state directory, hier(7), that only root may enter. */
export const OBSERVERS = "/run/rcap/observers";
