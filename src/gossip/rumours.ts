/**
 * What a node still has to pass on, as keys: the facts themselves are looked up when they leave, so what leaves is always the
 * newest. Every fact leaves a limited number of times, and those that have left least often go first, each in its turn: a
 * crowd of facts can make one wait, but keeps none from leaving (SWIM §4.1).
 */
export class Rumours<K> {
  /** By how often they have left. Maps keep the order in which keys came. */
  readonly #waiting: Map<K, true>[] = [];
  readonly #timesLeft = new Map<K, number>();

  /** Keys that wait. */
  get size(): number {
    return this.#timesLeft.size;
  }

  /** There is something new about `key`: it is to be passed on from the beginning. */
  add(key: K): void {
    this.remove(key);
    this.#put(key, 0);
  }

  remove(key: K): void {
    const times = this.#timesLeft.get(key);
    if (times === undefined) return;
    this.#timesLeft.delete(key);
    this.#waiting[times]!.delete(key);
  }

  /**
   * Offers the keys, those that have left least often first, until `take` answers `full`. `taken` ones have left once more, and
   * are forgotten after `limit` times; `skipped` ones stay where they are.
   */
  offer(limit: number, take: (key: K) => "taken" | "skipped" | "full"): void {
    // What moves on while the keys are walked would be met again.
    const taken: K[] = [];
    offering: for (const keys of this.#waiting) {
      for (const key of keys.keys()) {
        const verdict = take(key);
        if (verdict === "full") break offering;
        if (verdict === "taken") taken.push(key);
      }
    }
    for (const key of taken) {
      const times = this.#timesLeft.get(key)! + 1;
      this.remove(key);
      if (times < limit) this.#put(key, times);
    }
  }

  #put(key: K, times: number): void {
    while (this.#waiting.length <= times) this.#waiting.push(new Map());
    this.#waiting[times]!.set(key, true);
    this.#timesLeft.set(key, times);
  }
}
