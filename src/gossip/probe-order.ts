import type { NodeId } from "../../protocol/ids.ts";
import type { Random } from "../lib/prng.ts";

/**
 * Whom a node probes next (SWIM §4.3): all others in a random order, then all again in another one, so that each comes up
 * within two rounds for certain. Those that somebody has a reason to look at come first, but take every other turn only:
 * the round goes on whatever happens.
 */
export class ProbeOrder {
  readonly #random: Random;
  #round: NodeId[] = [];
  #next = 0;
  readonly #hurried = new Set<NodeId>();
  #wasHurried = false;

  constructor(random: Random) {
    this.#random = random;
  }

  /** A newcomer gets a random place in the round. */
  add(node: NodeId): void {
    this.#round.splice(this.#random.below(this.#round.length + 1), 0, node);
  }

  remove(node: NodeId): void {
    const at = this.#round.indexOf(node);
    if (at >= 0) this.#round.splice(at, 1);
    if (at >= 0 && at < this.#next) this.#next--;
    this.#hurried.delete(node);
  }

  /** The node is to be probed soon. */
  hurry(node: NodeId): void {
    this.#hurried.add(node);
  }

  /** The next node that is `wanted`; `undefined` if a whole round has none. */
  next(wanted: (node: NodeId) => boolean): NodeId | undefined {
    if (!this.#wasHurried) {
      for (const node of this.#hurried) {
        this.#hurried.delete(node);
        if (!wanted(node)) continue;
        this.#wasHurried = true;
        return node;
      }
    }
    this.#wasHurried = false;
    for (let tried = 0; tried < this.#round.length; tried++) {
      if (this.#next >= this.#round.length) {
        this.#next = 0;
        this.#shuffle();
      }
      const node = this.#round[this.#next++]!;
      if (wanted(node)) return node;
    }
    return undefined;
  }

  #shuffle(): void {
    const round = this.#round;
    for (let last = round.length - 1; last > 0; last--) {
      const other = this.#random.below(last + 1);
      [round[last], round[other]] = [round[other]!, round[last]!];
    }
  }
}

/** Up to `count` of `nodes` that are `wanted`, all sets being as likely. */
export function sample(
  random: Random,
  nodes: Iterable<NodeId>,
  count: number,
  wanted: (node: NodeId) => boolean,
): NodeId[] {
  const chosen: NodeId[] = [];
  let seen = 0;
  for (const node of nodes) {
    if (!wanted(node)) continue;
    seen++;
    if (chosen.length < count) chosen.push(node);
    else {
      const place = random.below(seen);
      if (place < count) chosen[place] = node;
    }
  }
  return chosen;
}
