/**
 * Which replica to ask where any of them will do. First comes the distance: a replica in another room answers later than one
 * in this rack, however idle it is, so those count that answer in about the time of the quickest. Among these the one that
 * owes this client the fewest answers is taken, and where several owe as few, each in its turn.
 *
 * Times change, and a node that is not asked is not measured: so now and then any replica is asked.
 */

/** What a client knows of a node that it may ask. */
export interface ReplicaState {
  /** How long it takes to answer, as measured lately; `undefined`: it was never asked. */
  readonly roundTripMs: number | undefined;
  /** Requests that wait for its answer. */
  readonly waiting: number;
  readonly isDown: boolean;
}

/** Up to so many times the quickest's time, and so much more, is as near. */
const NEAR_FACTOR = 1.5;
const NEAR_SLACK_MS = 0.3;
/** One request in so many goes to any replica, to see how it is. */
const EXPLORE_EVERY = 64;

export class ReplicaChoice {
  #turn = 0;
  /** When each was chosen last. */
  readonly #lastTurns = new Map<string, number>();

  /** One of `addresses`; `undefined` if all of them are down. `stateOf`: of a node that was talked to. */
  choose(
    addresses: readonly string[],
    stateOf: (address: string) => ReplicaState | undefined,
  ): string | undefined {
    const turn = ++this.#turn;
    const explores = turn % EXPLORE_EVERY === 0;
    const limitMs = explores ? Number.POSITIVE_INFINITY : nearLimitMs(addresses, stateOf);
    let best: string | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    let oldest = Number.POSITIVE_INFINITY;
    for (const address of addresses) {
      const state = stateOf(address);
      if (state?.isDown === true) continue;
      // Who was not measured may be the nearest.
      if ((state?.roundTripMs ?? 0) > limitMs) continue;
      const waiting = explores ? 0 : (state?.waiting ?? 0);
      const lastTurn = this.#lastTurns.get(address) ?? 0;
      if (waiting > fewest || (waiting === fewest && lastTurn >= oldest)) continue;
      best = address;
      fewest = waiting;
      oldest = lastTurn;
    }
    if (best !== undefined) this.#lastTurns.set(best, turn);
    return best;
  }
}

function nearLimitMs(
  addresses: readonly string[],
  stateOf: (address: string) => ReplicaState | undefined,
): number {
  let quickestMs = Number.POSITIVE_INFINITY;
  for (const address of addresses) {
    const state = stateOf(address);
    if (state === undefined || state.isDown || state.roundTripMs === undefined) continue;
    quickestMs = Math.min(quickestMs, state.roundTripMs);
  }
  return quickestMs * NEAR_FACTOR + NEAR_SLACK_MS;
}
