/**
 * How long a leader may answer reads by itself (thesis §6.4.1). A read round that a majority has confirmed says that this
 * node led when the round was opened. Each of them promised at that moment or later not to help anybody else into
 * office for an election timeout; so for a little less than that nobody else can have been elected, and none of
 * the leader's reads can be stale. That holds only if
 *
 * - the promise outlives everything: no vote, not its own either, for an election timeout after a leader was heard, also
 *   when the term has moved on meanwhile, and for an election timeout after a restart, which forgets who was heard
 *   (`Election` keeps this where `RaftConfig.lease` is not 0); and until a crash leaves a term on the disk to know by that
 *   there was a leader, a round is confirmed after the sync only;
 * - the leader does not break it: once it has told another one to take over, whenever that word may arrive, its leases
 *   are over for the term;
 * - clocks agree on how long that is, but for a known drift. A voter counts ticks, the first of which may come at once,
 *   so its promise is worth `electionTicks - 1` whole ticks of its clock: the lease must be shorter than these by twice the
 *   drift (`isLeaseSafe`);
 * - the leader's clock does not stand still while others' run. A process that is stopped loses nothing by that: its
 *   monotonic clock goes on and the lease has run out when it wakes up. But a machine that is suspended, or moved while
 *   it runs, may not see the time that it lost. Who notices that by other means says so (`endLease`); where nobody can,
 *   leases can't be right, which is why they are off unless asked for, and why a read says whether a lease is enough for it.
 *
 * The beginning of a lease is the time at which its round was opened, before its heartbeats left.
 */
export class Lease {
  readonly #length: number;
  #end = Number.NEGATIVE_INFINITY;
  #over = false;

  /** `length`: for how long a round that was confirmed is good; 0 for never. */
  constructor(length: number) {
    this.#length = length;
  }

  /** A majority confirmed a round that was opened at `openedAt`. */
  confirmed(openedAt: number): void {
    if (this.#length > 0 && openedAt + this.#length > this.#end) this.#end = openedAt + this.#length;
  }

  /** Whether no other leader can exist at `now`. */
  holdsAt(now: number): boolean {
    return !this.#over && now < this.#end;
  }

  /** Whether it is time to have it confirmed anew. */
  isHalfOver(now: number): boolean {
    return now >= this.#end - this.#length / 2;
  }

  /** What was confirmed until now is worth nothing any more; later rounds are. */
  interrupt(): void {
    this.#end = Number.NEGATIVE_INFINITY;
  }

  /** For the rest of the term. */
  giveUp(): void {
    this.#over = true;
  }
}

/**
 * Whether a lease of `lease` is short enough, where a tick is `tick` long (both in one unit), and no two clocks of a group
 * run apart by more than `drift` of the time.
 */
export function isLeaseSafe(lease: number, tick: number, electionTicks: number, drift: number): boolean {
  return lease >= 0 && lease <= (electionTicks - 1) * tick * (1 - 2 * drift);
}
