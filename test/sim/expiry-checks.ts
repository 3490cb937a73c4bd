import type { Operation } from "../support/history.ts";

/** Log times are whole milliseconds. */
const ROUNDING_MS = 1;
/**
 * How long what has expired may still be found: a leader that hands over moves the log's time no more, and answers by it
 * until it is followed or gives up. As long as two election timeouts.
 */
const HANDOVER_MS = 1000;

/**
 * When values with a time to live may be gone, and must be. Deadlines are times of the shard's log, which its leader's wall
 * clock stamps: where all wall clocks of a run agree, a value is there until its time to live after it was put, and not much
 * longer. Where clocks are set, nobody outside can tell: it may go at any time, once.
 */
export class ExpiryChecks {
  readonly #clocksAgree: boolean;
  /** By value: when it has to be gone. */
  readonly #ends = new Map<string, number>();

  constructor(clocksAgree: boolean) {
    this.#clocksAgree = clocksAgree;
  }

  /** What the history gets for a put that expires: something that deletes just this value, and may happen from a time on. */
  goneOf(put: Operation): Operation | undefined {
    const { action, outcome, invokedAt, returnedAt } = put;
    if (action.kind !== "put" || action.expiry === undefined || outcome === "failed") return undefined;
    const { value, expiry } = action;
    const gone: Operation = {
      ...put,
      action: { kind: "cas", expected: value, value: undefined },
      outcome: "unknown",
    };
    // Who keeps a deadline knows nothing of it.
    if (expiry === "keep" || !this.#clocksAgree) return gone;
    if (outcome === "done") this.#ends.set(value, returnedAt + expiry + ROUNDING_MS + HANDOVER_MS);
    return { ...gone, invokedAt: invokedAt + expiry - ROUNDING_MS };
  }

  /** What is wrong with the reads of a history: they found what had to be gone. */
  faultsOf(history: readonly Operation[]): string[] {
    const faults: string[] = [];
    for (const { client, key, action, outcome, invokedAt } of history) {
      if (action.kind !== "get" || outcome !== "done" || action.result === undefined) continue;
      const end = this.#ends.get(action.result);
      if (end === undefined || invokedAt <= end) continue;
      const late = (invokedAt - end).toFixed(3);
      faults.push(`client ${client} found ${action.result} under ${key} ${late} ms after it had expired`);
    }
    return faults;
  }
}
