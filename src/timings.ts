/**
 * The times that a node lives by, and how they have to relate. A user says those of `TimingOptions`, in milliseconds; what the
 * parts are told follows from these. Nothing here adapts by itself: what a network or a disk needs is known to who runs them.
 */
import { assert } from "./lib/assert.ts";
import { isLeaseSafe } from "./raft/lease.ts";

/** What may be said on the command line and in the config file. All members of a cluster should be told the same. */
export interface TimingOptions {
  /** One tick of the Raft cores: what the other times are counted in. */
  readonly tickMs: number;
  /** How often a leader is heard when it has nothing to say. */
  readonly heartbeatMs: number;
  /** A follower that hears nothing for so long, up to twice as long at random, campaigns. */
  readonly electionTimeoutMs: number;
  /** How long a request may wait for its answer inside of a node. */
  readonly requestTimeoutMs: number;
  /** A group in which nothing happened for so long falls asleep: no heartbeats until something does. */
  readonly idleMs: number;
  /** What a node that is silent for so long holds is made elsewhere, where there is a node for it. */
  readonly lostAfterMs: number;
  /**
   * No monotonic clock of the cluster runs faster or slower than time by more than so many percent: leaders may answer reads
   * that ask for it by a lease. 0: nobody can say, and there are no leases.
   */
  readonly leaseDriftPercent: number;
}

export const DEFAULT_TIMING_OPTIONS: TimingOptions = {
  tickMs: 50,
  heartbeatMs: 100,
  electionTimeoutMs: 500,
  requestTimeoutMs: 5_000,
  idleMs: 2_000,
  lostAfterMs: 300_000,
  leaseDriftPercent: 0,
};

/** The flag of each, which is also its key in the config file. */
export const TIMING_FLAGS = {
  tickMs: "tick-ms",
  heartbeatMs: "heartbeat-ms",
  electionTimeoutMs: "election-timeout-ms",
  requestTimeoutMs: "request-timeout-ms",
  idleMs: "idle-ms",
  lostAfterMs: "lost-after-ms",
  leaseDriftPercent: "lease-drift-percent",
} as const satisfies Record<keyof TimingOptions, string>;

/** Nobody waits longer than a day for anything. */
const TIME_MS_MAX = 86_400_000;

/** Of two clocks that drift further apart than this, nobody should read anything. */
const DRIFT_PERCENT_MAX = 40;

/** A lost heartbeat, and the next one too, must not cost a leader its office. */
const HEARTBEATS_PER_ELECTION = 3;
/** A request, and a node's absence, must survive the longest election timeout, which is twice the shortest, and the election after it. */
const ELECTIONS_PER_REQUEST = 4;

/** Which relation these times break, as a sentence that names the flags and what they are; `undefined` if none. */
export function faultOfTimings(options: TimingOptions): string | undefined {
  const name = (key: keyof TimingOptions) => `--${TIMING_FLAGS[key]} (${options[key]})`;
  for (const key of Object.keys(TIMING_FLAGS) as (keyof TimingOptions)[]) {
    const value = options[key];
    if (key === "leaseDriftPercent") continue;
    if (!Number.isInteger(value) || value < 1 || value > TIME_MS_MAX) {
      return `--${TIMING_FLAGS[key]} must be a whole number of milliseconds from 1 to ${TIME_MS_MAX}, found ${value}`;
    }
  }
  for (const key of ["heartbeatMs", "electionTimeoutMs", "idleMs"] as const) {
    if (options[key] % options.tickMs !== 0) {
      return `${name(key)} must be a multiple of ${name("tickMs")}: it is counted in ticks`;
    }
  }
  const { heartbeatMs, electionTimeoutMs, requestTimeoutMs, idleMs, lostAfterMs, leaseDriftPercent } =
    options;
  if (
    !Number.isInteger(leaseDriftPercent) ||
    leaseDriftPercent < 0 ||
    leaseDriftPercent > DRIFT_PERCENT_MAX
  ) {
    return `--${TIMING_FLAGS.leaseDriftPercent} must be a whole number from 1 to ${DRIFT_PERCENT_MAX}, or 0 for no leases, found ${leaseDriftPercent}`;
  }
  if (leaseDriftPercent > 0 && leaseMsOf(options) < 1) {
    return `${name("leaseDriftPercent")} leaves no time for a lease within ${name("electionTimeoutMs")}: a lease has to end before an election can`;
  }
  if (electionTimeoutMs < HEARTBEATS_PER_ELECTION * heartbeatMs) {
    return `${name("electionTimeoutMs")} must be at least ${HEARTBEATS_PER_ELECTION} times ${name("heartbeatMs")}: two lost heartbeats must not cost a leader its office`;
  }
  if (requestTimeoutMs < ELECTIONS_PER_REQUEST * electionTimeoutMs) {
    return `${name("requestTimeoutMs")} must be at least ${ELECTIONS_PER_REQUEST} times ${name("electionTimeoutMs")}: a request must survive the longest election timeout and the election after it`;
  }
  if (idleMs < electionTimeoutMs) {
    return `${name("idleMs")} must be at least ${name("electionTimeoutMs")}: a group must not fall asleep before it can know that all are well`;
  }
  if (lostAfterMs < ELECTIONS_PER_REQUEST * electionTimeoutMs) {
    return `${name("lostAfterMs")} must be at least ${ELECTIONS_PER_REQUEST} times ${name("electionTimeoutMs")}: who only restarts must not be given up`;
  }
  return undefined;
}

/**
 * For how long a follower that has heard its leader certainly helps nobody else into office: it counts whole ticks, the first
 * of which may come at once, and a timer may go off up to a millisecond early.
 */
function promiseMsOf({ electionTimeoutMs, tickMs }: TimingOptions): number {
  return (electionTimeoutMs / tickMs - 1) * (tickMs - 1);
}

/** How long a lease may be: by the leader's clock, if it is slow, no longer than a promise by a voter's clock that is fast. */
function leaseMsOf(options: TimingOptions): number {
  const { leaseDriftPercent: drift } = options;
  return drift === 0 ? 0 : Math.floor(promiseMsOf(options) * (1 - (2 * drift) / 100));
}

/** What the parts of a node are told. */
export interface NodeTimings {
  /** One tick of the Raft cores. */
  readonly tickMs: number;
  readonly heartbeatTicks: number;
  /** A follower that hears nothing for this many ticks, up to twice as many at random, campaigns. */
  readonly electionTicks: number;
  /** A group in which nothing happened for so long falls asleep: no heartbeats until something does. */
  readonly quiesceTicks: number;
  /**
   * A node that was not heard for so long is taken for dead by the groups that it leads and that are asleep: neither sooner
   * nor much later than one that is awake would miss it.
   */
  readonly silentLeaderMs: number;
  /** How long a request may wait for its answer inside of a node. */
  readonly requestTimeoutMs: number;
  /** How long a request that has to be sent on may wait for a leader to be known. */
  readonly forwardWaitMs: number;
  /** How long a leader may answer reads by itself after a majority has confirmed it; 0 for never (`raft/lease.ts`). */
  readonly leaseMs: number;
  /** For how long this node helps nobody into office after it heard a leader; 0 where no leases rest on that. */
  readonly promiseMs: number;
  /** How often logs are compacted, leaders balanced and the system group's facts completed. */
  readonly maintenanceMs: number;
  /** What a node that is silent for so long holds is made elsewhere. */
  readonly lostAfterMs: number;
  /** A full disk is tried again this often. */
  readonly diskFullRetryMs: number;
  /** Most time that handing leadership over may take when a node stops. */
  readonly handoverMs: number;
  /** How long after a majority is connected a new cluster's preferred leaders campaign. */
  readonly settleMs: number;
  /** A sync of the log that takes so long makes this node give up leading; a quarter of it does, if it is so mostly. */
  readonly slowSyncMs: number;
  /** How long there has to be no such sync before this node takes leaderships back. */
  readonly calmMs: number;
  /** How long a node waits for the others' part of a cluster's status. */
  readonly statusTimeoutMs: number;
  /** How long a graceful stop may take before the process exits all the same. */
  readonly stopMsMax: number;
}

/** What follows from options that have no fault. */
export function timingsOf(options: TimingOptions): NodeTimings {
  const { tickMs, heartbeatMs, electionTimeoutMs, requestTimeoutMs, idleMs } = options;
  const leaseMs = leaseMsOf(options);
  assert(
    isLeaseSafe(leaseMs, tickMs - 1, electionTimeoutMs / tickMs, options.leaseDriftPercent / 100),
    `a lease of ${leaseMs} ms outlives the promises that it rests on`,
  );
  return {
    tickMs,
    heartbeatTicks: heartbeatMs / tickMs,
    electionTicks: electionTimeoutMs / tickMs,
    quiesceTicks: idleMs / tickMs,
    silentLeaderMs: 1.5 * electionTimeoutMs,
    requestTimeoutMs,
    forwardWaitMs: requestTimeoutMs / 2,
    leaseMs,
    promiseMs: leaseMs === 0 ? 0 : promiseMsOf(options),
    maintenanceMs: 1_000,
    lostAfterMs: options.lostAfterMs,
    diskFullRetryMs: 500,
    handoverMs: Math.max(2_000, 2 * electionTimeoutMs),
    settleMs: 200,
    slowSyncMs: electionTimeoutMs / 2,
    calmMs: 10 * electionTimeoutMs,
    statusTimeoutMs: 1_000,
    // A stopping node waits for the requests that are under way.
    stopMsMax: requestTimeoutMs + 10_000,
  };
}

export const DEFAULT_TIMINGS: NodeTimings = timingsOf(DEFAULT_TIMING_OPTIONS);
