/**
 * How far a node may trust its own ears (Lifeguard §IV.A). Who is slow itself finds others silent, so what goes wrong with its
 * own probes, and others' suspicions of it, are points against its health; and it waits longer, by a factor of the points
 * and one, before it blames anybody.
 */
export class LocalHealth {
  readonly #pointsMax: number;
  #points = 0;

  constructor(pointsMax: number) {
    this.#pointsMax = pointsMax;
  }

  /** By how much this node's patience is longer than a healthy one's. */
  get factor(): number {
    return this.#points + 1;
  }

  /** Positive: something went wrong here, perhaps; negative: something went well. */
  note(points: number): void {
    this.#points = Math.max(0, Math.min(this.#pointsMax, this.#points + points));
  }
}
