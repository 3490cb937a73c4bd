/**
 * Which blocks were evicted not long ago: what comes back soon deserves a better place. Only a fingerprint and a time
 * are kept of each, in two flat arrays; one that lands on another's place takes it. So it forgets some, and rarely takes
 * one block for another: either costs a little speed and nothing else.
 */
export class GhostList {
  readonly #fingerprints: Uint32Array;
  readonly #times: Uint32Array;
  #now = 1;

  /** `places`: how many it remembers at most; rounded up to a power of two. */
  constructor(places: number) {
    const size = 1 << Math.max(4, Math.ceil(Math.log2(places)));
    this.#fingerprints = new Uint32Array(size);
    this.#times = new Uint32Array(size);
  }

  /** `id`: 32 bits that are as good as random. */
  add(id: number): void {
    const place = id & (this.#times.length - 1);
    this.#fingerprints[place] = id;
    this.#times[place] = this.#now++;
  }

  /** Whether `id` is among the last `depth` that were added; it is forgotten then. */
  take(id: number, depth: number): boolean {
    const place = id & (this.#times.length - 1);
    const time = this.#times[place]!;
    if (time === 0 || this.#fingerprints[place] !== id || this.#now - time > depth) return false;
    this.#times[place] = 0;
    return true;
  }
}
