/**
 * Leaves a group alone, for longer each time, while its cap cannot be met without
 * taking what comes back at once.
 *
 * A scan fails if next to nothing could go, or if what it paged out comes back: more
 * than a quarter of it, and either memory in use had to go, or more comes back within a
 * minute than is paged out, or than the cap allows. The second condition tells a group
 * whose working set is too large from one that slowly moves on to memory that was paged
 * out long ago, whose cap can be met.
 *
 * @module
 */

/** A scan fails if more than this share of what it paged out comes back. */
const RETURNING_SHARE = 1 / 4;

/** After this many failed scans a warning is due; a single one may be bad luck. */
const PATIENCE = 2;

/**
 * The longest time for which a group is left alone, in milliseconds. It limits what
 * scans in vain cost: the excess is read back once in this time. It also limits how long
 * a cap stays exceeded after it could be met again without rcap seeing why.
 */
const LONGEST = 5 * 60_000;

/**
 * For how long a group is observed again before it is scanned again, at least this long
 * and this many intervals, so that the scan knows what is idle. Times are in
 * milliseconds.
 */
const PREPARATION = 30_000;
const PREPARATION_INTERVALS = 3;

/** What comes back later than this after a scan does not come back at once, in milliseconds. */
const JUDGED_FOR = 60_000;

/** The back-off ends once the cap has been met for this long, in milliseconds. */
const CALM = 60_000;

/** A group that has grown by this share is scanned early. */
const MUCH_MORE = 1 / 8;
/** The back-off ends if this share of a group has left, or of the excess fits in new swap. */
const MUCH_LESS = 1 / 4;
/** Smaller changes are ignored, in bytes. */
const LEAST_CHANGE = 1 << 20;

/**
 * How many pages one major fault may bring in: swap readahead brings 8 by default
 * (`page-cluster` of Documentation/admin-guide/sysctl/vm.rst), and a fault in a file
 * maps 16 (`fault_around_bytes` of mm/memory.c).
 */
export const PAGES_PER_FAULT = 16;

/** What decides whether another scan may succeed. Sizes are in bytes. */
export interface Circumstances {
  readonly size: number;
  readonly cap: number;
  /** The resident sizes of all members that have left so far, added up. */
  readonly departed: number;
  readonly freeSwap: number;
}

/** What a back-off has to know of a scan. Sizes are in bytes. */
export interface JudgedScan {
  readonly pagedOut: number;
  /** Whether it went through everything and next to nothing could go. */
  readonly ineffective: boolean;
  /** Whether idle memory did not suffice, so that memory in use was paged out. */
  readonly tookInUse: boolean;
  /** What is left of the excess. */
  readonly left: number;
}

/** A moment. Times are in milliseconds of a monotonic clock. */
export interface Moment {
  readonly now: number;
  /** The time between two samples. */
  readonly interval: number;
}

/** Why a back-off is over, in words for users. */
export type Change =
  | "it has met its cap for a minute"
  | "the cap has changed"
  | "processes have left"
  | "its size has fallen"
  | "more swap is free";

/** Decides when a group is scanned again. */
export class Backoff {
  /** How many scans have failed since the back-off began. */
  #failures = 0;
  #until = -Infinity;
  /** Until when nothing need be known of the group. */
  #dormantUntil = -Infinity;
  /** Since when the cap has been met, as far as known. */
  #calmSince = -Infinity;
  /** The last scan, while it may still fail. */
  #scan: (JudgedScan & { at: number }) | undefined;
  #isScanning = false;
  /** What has come back since the last scan began, in bytes. */
  #returned = 0;
  /** What has come back in about a minute, in bytes: older returns fade. */
  #recent = 0;
  #recentAt = 0;
  /** What scans have paged out and has not come back, in bytes. */
  #out = 0;
  /** The size as of the last sample or scan, and the largest since the last scan. */
  #size: number | undefined;
  #peak = 0;
  /** The circumstances of the last failed scan. */
  #then: Circumstances | undefined;
  /** The largest size that is known to be too much, as if nothing were paged out. */
  #highest = 0;

  /** Whether so many scans failed that a warning is due. */
  get isHopeless(): boolean {
    return this.#failures >= PATIENCE;
  }

  /** Whether more of the circumstances than the sizes matters to the next sample. */
  get isActive(): boolean {
    return this.#failures > 0 || this.#scan !== undefined;
  }

  /** Until when the group is left alone. */
  get until(): number {
    return this.#until;
  }

  /** Notes that a scan begins. */
  begin(): void {
    this.#scan = undefined;
    this.#isScanning = true;
    this.#returned = 0;
  }

  /** Notes that the scan that has begun is over. */
  end(): void {
    this.#isScanning = false;
    this.#peak = this.#size ?? 0;
  }

  /** Notes what was paged out besides the scans that are judged, in bytes. */
  alsoPagedOut(bytes: number): void {
    this.#out += bytes;
    // It may come back, too, and does not show that the scan has failed.
    const scan = this.#scan;
    if (scan) this.#scan = { ...scan, pagedOut: scan.pagedOut + bytes };
  }

  /**
   * Records the result of the last scan.
   *
   * @param after the circumstances after it.
   * @returns whether it has failed already.
   */
  scanned(scan: JudgedScan, after: Circumstances, moment: Moment): boolean {
    this.#out += scan.pagedOut;
    // The group may have shrunk by itself meanwhile, which the next sample is to see.
    this.#peak = Math.max(after.size, (this.#size ?? 0) - scan.pagedOut);
    this.#size = after.size;
    this.#scan = { ...scan, at: moment.now };
    if (scan.left > 0) this.#calmSince = moment.now;
    if (scan.ineffective) this.#fail(after, moment);
    return scan.ineffective;
  }

  /**
   * Records a sample.
   *
   * @param cameBack the size of the pages whose faults waited for a disk, in bytes.
   * @param isEnforced whether the group may be scanned if it exceeds its cap.
   * @returns `failed` if this shows that the last scan has failed; a change if it ends
   * the back-off.
   */
  sampled(
    { cameBack, isEnforced }: { cameBack: number; isEnforced: boolean },
    circumstances: Circumstances,
    moment: Moment,
  ): "failed" | Change | undefined {
    const { now } = moment;
    const { size, cap } = circumstances;
    this.#noteReturns(cameBack, size, now);
    this.#peak = Math.max(this.#peak, size);
    if (this.#hasComeBack(cap)) {
      this.#fail(circumstances, moment);
      return "failed";
    }
    if (this.#scan && now - this.#scan.at >= JUDGED_FOR) this.#scan = undefined;
    if (this.#failures === 0) return undefined;
    if (size > cap && (!isEnforced || this.isWaiting(moment))) {
      this.#calmSince = now;
    }
    const change = this.#change(circumstances) ??
      (now - this.#calmSince >= CALM
        ? "it has met its cap for a minute"
        : undefined);
    if (change) this.reset();
    else this.#noteGrowth(size);
    return change;
  }

  /** Whether the group is to be left alone. */
  isWaiting({ now, interval }: Moment): boolean {
    // Timers are not exact: a sample at about that time is not too early.
    return now < this.#until - interval / 2;
  }

  /**
   * Whether nothing need be known of the group but its size: its cap cannot be met, and
   * it is to be left alone for much longer than knowledge takes to gather.
   */
  isDormant(now: number): boolean {
    return this.isHopeless && now < this.#dormantUntil;
  }

  /** Ends the back-off. */
  reset(): void {
    this.#failures = 0;
    this.#scanAtOnce();
    this.#scan = undefined;
    this.#then = undefined;
  }

  #noteReturns(cameBack: number, size: number, now: number): void {
    const grown = size - (this.#size ?? size);
    const returned = Math.max(
      cameBack,
      Math.min(grown, cameBack * PAGES_PER_FAULT),
    );
    this.#size = size;
    this.#returned += returned;
    this.#recent = returned +
      this.#recent * Math.exp((this.#recentAt - now) / JUDGED_FOR);
    this.#recentAt = now;
    this.#out = Math.max(0, this.#out - returned);
  }

  /** Whether what the last scan paged out has come back. */
  #hasComeBack(cap: number): boolean {
    if (!this.#scan) return false;
    const { pagedOut, tookInUse } = this.#scan;
    if (pagedOut <= 0 || this.#returned <= pagedOut * RETURNING_SHARE) {
      return false;
    }
    return tookInUse || this.#recent > Math.min(cap, this.#out);
  }

  #fail(circumstances: Circumstances, { now, interval }: Moment): void {
    if (this.#failures === 0) this.#highest = 0;
    const delay = interval * 2 ** this.#failures;
    this.#failures++;
    this.#until = now + Math.min(delay, Math.max(LONGEST, interval));
    this.#dormantUntil = this.#until -
      Math.max(PREPARATION, PREPARATION_INTERVALS * interval);
    this.#calmSince = now;
    this.#scan = undefined;
    this.#then = circumstances;
    this.#highest = Math.max(this.#highest, circumstances.size + this.#out);
  }

  /** The change that may make the cap one that can be met. */
  #change(now: Circumstances): Change | undefined {
    const then = this.#then;
    if (!then) return undefined;
    // A scan in progress lowers the size itself.
    if (
      !this.#isScanning && isMuch(this.#peak - now.size, MUCH_LESS, this.#peak)
    ) {
      return "its size has fallen";
    }
    if (isMuch(now.departed - then.departed, MUCH_LESS, this.#peak)) {
      return "processes have left";
    }
    // What comes back leaves swap, too.
    const gained = now.freeSwap - then.freeSwap - this.#returned;
    const wasShort = then.freeSwap < LEAST_CHANGE;
    return wasShort && isMuch(gained, MUCH_LESS, then.size - then.cap)
      ? "more swap is free"
      : undefined;
  }

  /** Lets a group be scanned that has grown by more than what came back. */
  #noteGrowth(size: number): void {
    const whole = size + this.#out;
    const grown = whole - this.#highest;
    if (!isMuch(grown, MUCH_MORE, size - grown)) return;
    this.#highest = whole;
    this.#scanAtOnce();
  }

  #scanAtOnce(): void {
    this.#until = -Infinity;
    this.#dormantUntil = -Infinity;
  }
}

/** Whether a change is at least a share of a size, in bytes. */
function isMuch(change: number, share: number, size: number): boolean {
  return change >= Math.max(LEAST_CHANGE, size * share);
}
