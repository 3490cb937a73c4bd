import type { LatencyStatus } from "../../protocol/messages.ts";
import { WindowedLatency } from "./windowed-latency.ts";

export interface PaceLimits {
  /** A sync that takes so long makes the disk slow at once; a quarter of it, more often than not, makes it slow as well. */
  readonly slowSyncMs: number;
  /** How long a disk has to be well before it counts as well again; longer each time that this was too soon. */
  readonly calmMs: number;
}

/** How many of the last syncs are looked at, and how many of them may be sluggish. */
const SYNCS_KEPT = 16;
const SLUGGISH_MAX = 8;
/** How far the calm that is asked for may grow. */
const CALM_FACTOR_MAX = 64;
/** As often as other latencies. */
const WINDOW_MS = 30_000;

/**
 * Whether the disk of this node keeps up: a leader whose log syncs take long makes everybody wait, while its followers, who
 * are a majority without it, could go on. By the monotonic clock; but a sync under way counts in ticks of the node, so that
 * a process that stood still does not blame its disk.
 */
export class DiskPace {
  readonly #limits: PaceLimits;
  readonly #tickMs: number;
  readonly #latency = new WindowedLatency();
  #windowStartedMs = 0;
  #beganMs: number | undefined;
  #ticksUnderWay = 0;
  /** Of the last syncs, whether each was sluggish: a ring. */
  readonly #sluggish: boolean[] = new Array(SYNCS_KEPT).fill(false);
  #at = 0;
  #isSlow = false;
  #lastBadMs = Number.NEGATIVE_INFINITY;
  #wellSinceMs = Number.NEGATIVE_INFINITY;
  #calmFactor = 1;
  /** How often the disk became slow. */
  spells = 0;

  /** `tickMs`: how often `tick` is called. */
  constructor(limits: PaceLimits, tickMs: number) {
    this.#limits = limits;
    this.#tickMs = tickMs;
  }

  get isSlow(): boolean {
    return this.#isSlow;
  }

  /** How long syncs took, in milliseconds. */
  get syncMs(): LatencyStatus | null {
    return this.#latency.status();
  }

  syncBegan(nowMs: number): void {
    this.#beganMs = nowMs;
    this.#ticksUnderWay = 0;
  }

  syncEnded(nowMs: number): void {
    const tookMs = nowMs - this.#beganMs!;
    this.#beganMs = undefined;
    this.#latency.record(tookMs);
    // No longer than the node's ticks say, but for the one that it was begun in and the one to come.
    const seenMs = Math.min(tookMs, (this.#ticksUnderWay + 2) * this.#tickMs);
    const isSluggish = seenMs >= this.#limits.slowSyncMs / 4;
    if (isSluggish) this.#lastBadMs = nowMs;
    this.#sluggish[this.#at] = isSluggish;
    this.#at = (this.#at + 1) % SYNCS_KEPT;
  }

  /** It came to nothing, for other reasons than slowness. */
  syncFailed(): void {
    this.#beganMs = undefined;
  }

  /** To be called with every tick. Whether `isSlow` has changed. */
  tick(nowMs: number): boolean {
    if (nowMs - this.#windowStartedMs >= WINDOW_MS) {
      this.#latency.rotate();
      this.#windowStartedMs = nowMs;
    }
    if (this.#beganMs !== undefined && ++this.#ticksUnderWay * this.#tickMs >= this.#limits.slowSyncMs / 4) {
      this.#lastBadMs = nowMs;
    }
    if (this.#isSlow ? !this.#isCalm(nowMs) : !this.#isBad()) return false;
    this.#isSlow = !this.#isSlow;
    if (this.#isSlow) this.#noteSpell(nowMs);
    else this.#wellSinceMs = nowMs;
    return true;
  }

  #isBad(): boolean {
    if (this.#beganMs !== undefined && this.#ticksUnderWay * this.#tickMs >= this.#limits.slowSyncMs)
      return true;
    let count = 0;
    for (const isSluggish of this.#sluggish) if (isSluggish) count++;
    return count > SLUGGISH_MAX;
  }

  #isCalm(nowMs: number): boolean {
    return nowMs - this.#lastBadMs >= this.#limits.calmMs * this.#calmFactor;
  }

  /** A disk without work looks well: if it was slow again soon after it counted as that, it has to be so for longer. */
  #noteSpell(nowMs: number): void {
    this.spells++;
    this.#sluggish.fill(false);
    const wasSoon = nowMs - this.#wellSinceMs < this.#limits.calmMs * this.#calmFactor * 2;
    this.#calmFactor = wasSoon ? Math.min(this.#calmFactor * 2, CALM_FACTOR_MAX) : 1;
  }
}
