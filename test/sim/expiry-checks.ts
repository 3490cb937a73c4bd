import type { Operation } from "../support/history.ts";

/** Log times are whole milliseconds. */
const ROUNDING_MS = 1;
/**
 * When values with a time to live may be gone, and must be. Deadlines are times of the shard's log, which its leader's wall
 * clock stamps: where all wall clocks of a run agree, a value is there until its time to live after it was put. After that it is gone
 * once the log's time has moved there, which the next write to the shard sees to: a leader that hands over can't, and
 * answers by the time that its log has. Where clocks are set, nobody outside can tell: it may go at any time, once.
 */
export class ExpiryChecks {
  /** No wall clock of the run was set. */
  readonly clocksAgree: boolean;
  /** By value: when it has to be gone. */
  readonly #ends = new Map<string, number>();

  constructor(clocksAgree: boolean) {
    this.clocksAgree = clocksAgree;
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
    if (expiry === "keep" || !this.clocksAgree) return gone;
    if (outcome === "done") this.#ends.set(value, returnedAt + expiry + ROUNDING_MS);
    return { ...gone, invokedAt: invokedAt + expiry - ROUNDING_MS };
  }

  /**
   * What is wrong with the reads of a history: they found what had to be gone, because something was written to the shard
   * since. `shardOf`: where a key is.
   */
  faultsOf(history: readonly Operation[], shardOf: (key: string) => number): string[] {
    const writes = new Map<number, Operation[]>();
    for (const operation of history) {
      if (operation.action.kind === "get" || operation.outcome !== "done") continue;
      const shard = shardOf(operation.key);
      const known = writes.get(shard);
      if (known === undefined) writes.set(shard, [operation]);
      else known.push(operation);
    }
    const faults: string[] = [];
    for (const { client, key, action, outcome, invokedAt } of history) {
      if (action.kind !== "get" || outcome !== "done" || action.result === undefined) continue;
      const end = this.#ends.get(action.result);
      if (end === undefined || invokedAt <= end) continue;
      const since = writes.get(shardOf(key)) ?? [];
      if (!since.some((write) => write.invokedAt > end && write.returnedAt < invokedAt)) continue;
      const late = (invokedAt - end).toFixed(3);
      faults.push(`client ${client} found ${action.result} under ${key} ${late} ms after it had expired`);
    }
    return faults;
  }
}
