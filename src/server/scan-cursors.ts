/** More than a node gives out in a millisecond; small enough that cursors stay below 2^53 for two centuries. */
const CURSORS_PER_MS = 1000;

/**
 * Where unfinished SCANs go on. Redis' clients take a cursor for a number, while a scan over an ordered key space goes on
 * after a key: this table stands between the two. It is one for all connections of a node, since a client's pool may
 * send each step through another connection; it holds a bounded number of places and bytes and forgets the oldest first.
 */
export class ScanCursors {
  readonly #placesMax: number;
  readonly #bytesMax: number;
  /** In order of insertion, so that the oldest comes first. */
  readonly #places = new Map<number, Uint8Array>();
  #bytes = 0;
  #last: number;

  /** `startedMs`: the wall clock's time. Cursors begin there, so that one from before a restart is not taken for another. */
  constructor(placesMax: number, startedMs: number, bytesMax = 16 * 1024 * 1024) {
    this.#placesMax = placesMax;
    this.#last = Math.floor(startedMs) * CURSORS_PER_MS;
    this.#bytesMax = bytesMax;
  }

  /** A cursor for going on from `start` (included). Never 0, which begins and ends a scan. `start` is copied. */
  remember(start: Uint8Array): number {
    this.#last += 1;
    this.#places.set(this.#last, new Uint8Array(start));
    this.#bytes += start.length;
    while (this.#places.size > this.#placesMax || this.#bytes > this.#bytesMax) this.#forgetOldest();
    return this.#last;
  }

  /**
   * Where `cursor` goes on; `undefined` for one that was never given out here or is forgotten. A cursor may be used more
   * than once, as a client does that lost the reply.
   */
  find(cursor: number): Uint8Array | undefined {
    return this.#places.get(cursor);
  }

  #forgetOldest(): void {
    for (const [cursor, start] of this.#places) {
      this.#places.delete(cursor);
      this.#bytes -= start.length;
      return;
    }
  }
}
