/** Somebody who reads the store as of a sequence number: a snapshot or an open iterator. */
export interface Pin {
  readonly sequence: number;
}

/** Who reads as of when. */
export class Pins {
  readonly #pins = new Set<Pin>();
  #newest = -1;

  /** The newest sequence number that somebody reads at, -1 if nobody does: a version above it may be overwritten. */
  get newest(): number {
    return this.#newest;
  }

  add(pin: Pin): void {
    this.#pins.add(pin);
    if (pin.sequence > this.#newest) this.#newest = pin.sequence;
  }

  remove(pin: Pin): void {
    this.#pins.delete(pin);
    this.#newest = -1;
    for (const { sequence } of this.#pins) if (sequence > this.#newest) this.#newest = sequence;
  }
}
