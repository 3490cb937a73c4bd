import { assert } from "../lib/assert.ts";
import { type Carried, evenOut } from "./even-out.ts";
import { FailureDomains, type RingNode } from "./failure-domains.ts";
import { RingPoints } from "./ring-points.ts";
import { replicaShares, type Share, shareOf } from "./shares.ts";

/** Replica sets while they are being worked on. Nodes are known by their place in the list. */
export class Placement implements Carried {
  readonly #domains: FailureDomains;
  readonly #points: () => RingPoints;
  readonly #size: number;
  readonly #sets: readonly number[][];
  /** As they were given. */
  readonly #before: readonly (readonly number[])[];
  /** By shard: who gets it only if nobody else can. */
  readonly #spared: readonly (readonly number[])[];
  readonly #loads: Int32Array;
  /** The shards of each node. */
  readonly #held: readonly Set<number>[];
  readonly #shares: readonly Share[];
  readonly #bestCost: number;

  /**
   * `sets` are taken over; they hold no node twice. `size` is how many members each should have. `spared`: by shard, those
   * who get it only to make its set complete, and if nobody else can.
   */
  constructor(
    sets: readonly number[][],
    nodes: readonly RingNode[],
    size: number,
    virtualNodes: number,
    spared: readonly (readonly number[])[] = [],
  ) {
    assert(size <= nodes.length, "a set has no more members than there are nodes");
    this.#spared = spared;
    this.#domains = new FailureDomains(nodes);
    // Most often nothing is to be moved, and nobody asks for the ring.
    let points: RingPoints | undefined;
    this.#points = () => {
      points ??= new RingPoints(nodes, virtualNodes);
      return points;
    };
    this.#size = size;
    this.#sets = sets;
    this.#before = sets.map((set) => [...set]);
    this.#loads = new Int32Array(nodes.length);
    this.#held = nodes.map(() => new Set());
    for (const [shard, set] of sets.entries()) for (const node of set) this.#gain(node, shard);
    this.#shares = [...replicaShares(this.#domains, sets.length, size)].map(shareOf);
    this.#bestCost = this.#domains.costOf(this.#domains.bestSet(size));
  }

  get sets(): readonly (readonly number[])[] {
    return this.#sets;
  }

  /**
   * Sets without enough members get the nearest nodes on the ring that are not full, those with too many let some go, though
   * not `staying`.
   */
  fill(staying?: number): void {
    for (let shard = 0; shard < this.#sets.length; shard++) {
      const set = this.#sets[shard]!;
      while (set.length > this.#size) this.#dropOne(shard, set, staying);
      while (set.length < this.#size) {
        const node = this.#nextMember(shard, set);
        if (node < 0) break;
        set.push(node);
        this.#gain(node, shard);
      }
    }
  }

  /** Exchanges members of sets that could be spread better over hosts and zones. */
  spread(): void {
    for (let shard = 0; shard < this.#sets.length; shard++) {
      const set = this.#sets[shard]!;
      while (this.#domains.costOf(set) > this.#bestCost && this.#exchangeBest(shard, set));
    }
  }

  /** Brings every node's load within its bounds. */
  balance(): void {
    evenOut(this, this.#loads, this.#shares);
  }

  /** -1 if nobody is left who may get anything. */
  #nextMember(shard: number, set: readonly number[]): number {
    const ranks = this.#points().ranks(shard);
    let best = -1;
    let bestCost = 0;
    for (let node = 0; node < ranks.length; node++) {
      if (!this.#mayGet(set, node)) continue;
      const cost =
        (this.#domains.costWith(set, node) * 3 + this.#fullness(node)) * ranks.length + ranks[node]!;
      const isSpared = this.#isSpared(shard, node);
      const isBestSpared = best >= 0 && this.#isSpared(shard, best);
      if (best >= 0 && (isSpared === isBestSpared ? cost >= bestCost : isSpared)) continue;
      best = node;
      bestCost = cost;
    }
    return best;
  }

  /** 0 for a node that has less than its share, 1 for one that has room, 2 for one that is full. */
  #fullness(node: number): number {
    const { low, high } = this.#shares[node]!;
    const load = this.#loads[node]!;
    return load < low ? 0 : load < high ? 1 : 2;
  }

  #dropOne(shard: number, set: number[], staying: number | undefined): void {
    let worst = set[0] === staying ? 1 : 0;
    for (let at = worst + 1; at < set.length; at++) {
      if (set[at] === staying) continue;
      const cost = this.#domains.costWith(set, set[at]!, at);
      const worstCost = this.#domains.costWith(set, set[worst]!, worst);
      if (cost > worstCost || (cost === worstCost && this.#relative(set[at]!) > this.#relative(set[worst]!)))
        worst = at;
    }
    this.#lose(set[worst]!, shard);
    set.splice(worst, 1);
  }

  #relative(node: number): number {
    return this.#loads[node]! / this.#shares[node]!.share;
  }

  /** The exchange that makes a set's cost lowest; of equals, from the fullest node to the emptiest. */
  #exchangeBest(shard: number, set: readonly number[]): boolean {
    let bestAt = -1;
    let bestNode = -1;
    let bestGain = 0;
    let bestRelief = 0;
    for (let at = 0; at < set.length; at++) {
      const cost = this.#domains.costWith(set, set[at]!, at);
      for (let node = 0; node < this.#loads.length; node++) {
        if (!this.#mayGet(set, node) || this.#isSpared(shard, node)) continue;
        const gain = cost - this.#domains.costWith(set, node, at);
        const relief = this.#relative(set[at]!) - this.#relative(node);
        if (gain < Math.max(1, bestGain) || (gain === bestGain && relief <= bestRelief)) continue;
        bestAt = at;
        bestNode = node;
        bestGain = gain;
        bestRelief = relief;
      }
    }
    return bestAt >= 0 && this.move(set[bestAt]!, bestNode, shard);
  }

  /** The shard for which `to` is nearest on the ring; one that came to `from` only now before all others. */
  bestThing(from: number, to: number): number {
    if (this.#domains.nodes[to]!.isClosed === true) return -1;
    let best = -1;
    let bestRank = 0;
    for (const shard of this.#held[from]!) {
      const set = this.#sets[shard]!;
      if (set.includes(to) || this.#isSpared(shard, to) || !this.#canExchange(set, from, to)) continue;
      const isNew = !this.#before[shard]!.includes(from);
      const rank = this.#points().ranks(shard)[to]! - (isNew ? this.#loads.length : 0);
      if (best >= 0 && (rank > bestRank || (rank === bestRank && shard > best))) continue;
      best = shard;
      bestRank = rank;
    }
    return best;
  }

  /** Whether the set is not spread worse by it than it has to be, or is already. */
  #canExchange(set: readonly number[], from: number, to: number): boolean {
    if (this.#domains.isUniform) return true;
    const at = set.indexOf(from);
    const slack = Math.max(0, this.#bestCost - this.#domains.costOf(set));
    return this.#domains.costWith(set, to, at) <= this.#domains.costWith(set, from, at) + slack;
  }

  /** The newcomer takes the place of the one who goes, also in the order. */
  move(from: number, to: number, shard: number): boolean {
    const set = this.#sets[shard];
    const at = set?.indexOf(from) ?? -1;
    if (set === undefined || at < 0 || set.includes(to)) return false;
    set[at] = to;
    this.#lose(from, shard);
    this.#gain(to, shard);
    return true;
  }

  #gain(node: number, shard: number): void {
    this.#loads[node]!++;
    this.#held[node]!.add(shard);
  }

  #lose(node: number, shard: number): void {
    this.#loads[node]!--;
    this.#held[node]!.delete(shard);
  }

  #isSpared(shard: number, node: number): boolean {
    return this.#spared[shard]?.includes(node) === true;
  }

  #mayGet(set: readonly number[], node: number): boolean {
    return this.#domains.nodes[node]!.isClosed !== true && !set.includes(node);
  }
}
