/**
 * Holds writers back where flushes and compactions don't keep up, before memory, level 0 or the levels grow without bound:
 * first a little, then more, then altogether.
 *
 * How far the store is behind is told by one number, the strain: 0 where slowing down begins, 1 where writers have to
 * stop. At a strain s writers may write for the share 1 - s of the time: after each group they wait as long as makes it
 * so. Nothing has to be measured or tuned for that: the rate settles where what comes in is what can be worked off, and
 * the waits stay as short as the strain allows, instead of a full stop every now and then.
 */
import type { Clock } from "../env/env.ts";
import type { StallCause, WritePressure } from "./engine.ts";
import type { StoreHealth } from "./store-health.ts";

export interface ThrottleLimits {
  /** Tables in level 0 at which writers are slowed down, and stopped. */
  readonly level0TablesSlow: number;
  readonly level0TablesStop: number;
  /** Sealed memtables that wait for their flush at which writers are slowed down, and stopped. */
  readonly sealedMemtablesSlow: number;
  readonly sealedMemtablesStop: number;
  /** Bytes that compactions have yet to write at which writers are slowed down, and stopped. */
  readonly compactionDebtSlow: number;
  readonly compactionDebtStop: number;
}

/** What waits for flushes and compactions. */
export interface Backlog {
  readonly level0Tables: number;
  readonly sealedMemtables: number;
  /** How full the memtable is that takes the writes: from 0 to 1. */
  readonly memtableShare: number;
  readonly compactionDebt: number;
}

export interface Strain {
  readonly pressure: WritePressure;
  /** From 0 to 1. */
  readonly strain: number;
  /** What is behind the most. */
  readonly cause: StallCause | undefined;
}

const NO_STRAIN: Strain = { pressure: "none", strain: 0, cause: undefined };

/** How far behind the store is. */
export function strainOf(backlog: Backlog, limits: ThrottleLimits): Strain {
  const { level0Tables, sealedMemtables, memtableShare, compactionDebt } = backlog;
  const { level0TablesSlow, sealedMemtablesSlow, compactionDebtSlow } = limits;
  const isNone =
    level0Tables < level0TablesSlow &&
    sealedMemtables < sealedMemtablesSlow &&
    compactionDebt < compactionDebtSlow;
  if (isNone) return NO_STRAIN;
  let worst = NO_STRAIN;
  const look = (cause: StallCause, value: number, slow: number, stop: number, more: number): void => {
    if (value < slow) return;
    const strain = value >= stop ? 1 : Math.min(0.99, (value - slow + more) / (stop - slow));
    if (worst.cause !== undefined && strain <= worst.strain) return;
    worst = { pressure: value >= stop ? "stop" : "slow", strain, cause };
  };
  look("memtables", sealedMemtables, sealedMemtablesSlow, limits.sealedMemtablesStop, memtableShare);
  look("level 0", level0Tables, level0TablesSlow, limits.level0TablesStop, 0);
  look("compaction debt", compactionDebt, compactionDebtSlow, limits.compactionDebtStop, 0);
  return worst;
}

/** How often and how long writers waited. */
export interface ThrottleCounts {
  /** Waits of groups of writers that were slowed down, and their milliseconds together. */
  readonly delays: number;
  readonly delayMs: number;
  /** Times that writers were stopped, by what for, and their milliseconds together. */
  readonly stops: Readonly<Record<StallCause, number>>;
  readonly stopMs: number;
}

/** Shorter waits are added up: a timer takes a millisecond. */
const WAIT_MS_MIN = 1;
/** Longer waits are for stops: they end when something has changed. */
const WAIT_MS_MAX = 20;
/** Who writes now and then is not made to wait for the time in between. */
const GROUP_MS_MAX = 2;

export class WriteThrottle {
  readonly #clock: Clock;
  readonly #health: StoreHealth;
  readonly #strain: () => Strain;
  /** When a group was let through last. */
  #letThroughAt = 0;
  /** Milliseconds that writers should have waited and have not. */
  #owedMs = 0;
  #delays = 0;
  #delayMs = 0;
  readonly #stops: Record<StallCause, number> = { memtables: 0, "level 0": 0, "compaction debt": 0 };
  #stopMs = 0;

  constructor(clock: Clock, health: StoreHealth, strain: () => Strain) {
    this.#clock = clock;
    this.#health = health;
    this.#strain = strain;
  }

  get counts(): ThrottleCounts {
    return { delays: this.#delays, delayMs: this.#delayMs, stops: { ...this.#stops }, stopMs: this.#stopMs };
  }

  /**
   * Settles when the next group of writers may write; `undefined`: at once. Throws or rejects with `READ_ONLY`, `FAILED`.
   */
  ready(): Promise<void> | undefined {
    this.#health.checkWritable();
    const { strain, cause } = this.#strain();
    if (cause === undefined || this.#health.closing) {
      this.#owedMs = 0;
      // Without strain nobody asks what time it was.
      this.#letThroughAt = 0;
      return undefined;
    }
    return strain >= 1 ? this.#stop() : this.#slow(strain);
  }

  #slow(strain: number): Promise<void> | undefined {
    const now = this.#clock.nowMs();
    const wrote = this.#letThroughAt === 0 ? 0 : Math.min(now - this.#letThroughAt, GROUP_MS_MAX);
    this.#letThroughAt = now;
    this.#owedMs += (wrote * strain) / (1 - strain);
    return this.#owedMs < WAIT_MS_MIN ? undefined : this.#wait(now);
  }

  async #wait(from: number): Promise<void> {
    await this.#health.delay(Math.min(this.#owedMs, WAIT_MS_MAX));
    const now = this.#clock.nowMs();
    // A timer that came late has made up for waits to come, but not for more than one.
    this.#owedMs = Math.max(-WAIT_MS_MAX, this.#owedMs - (now - from));
    this.#letThroughAt = now;
    this.#delays++;
    this.#delayMs += now - from;
    this.#health.checkWritable();
  }

  async #stop(): Promise<void> {
    const from = this.#clock.nowMs();
    for (let stopped: StallCause | undefined; ; ) {
      const { strain, cause } = this.#strain();
      if (cause === undefined || strain < 1 || this.#health.closing) break;
      if (cause !== stopped) this.#stops[cause]++;
      stopped = cause;
      await this.#health.changed();
      this.#health.checkWritable();
    }
    this.#letThroughAt = this.#clock.nowMs();
    this.#stopMs += this.#letThroughAt - from;
  }
}
