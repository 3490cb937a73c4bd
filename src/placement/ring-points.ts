/**
 * The circle of consistent hashing (Karger et al., "Consistent Hashing and Random Trees", 1997): each node has many points
 * on it (virtual nodes), each shard one, and a shard prefers the nodes in the order in which their points follow its own.
 * A node that comes takes arcs from all the others, and leaves everybody else's order alone.
 */
import { xxh32Of } from "../lib/hash.ts";
import type { RingNode } from "./failure-domains.ts";

/** Points are hashes of 32 bits; a point and its node make one number, which sorts fast. */
const CIRCLE = 2 ** 32;
const NODES_MAX = 2 ** 20;
const SHARD_SEED = 0x5ead;
const ENCODER = new TextEncoder();

/** Nodes are known by their place in the list that the ring was made of. */
export class RingPoints {
  readonly #nodes: number;
  /** `point * NODES_MAX + node`, ascending. */
  readonly #points: Float64Array;
  readonly #ranks = new Map<number, Uint16Array>();

  /** `virtualNodes` is how many points a node of weight 1 has. */
  constructor(nodes: readonly RingNode[], virtualNodes: number) {
    this.#nodes = nodes.length;
    const counts = nodes.map(({ weight }) => Math.max(1, Math.round(virtualNodes * weight)));
    this.#points = new Float64Array(counts.reduce((sum, count) => sum + count, 0));
    let at = 0;
    for (const [node, { id }] of nodes.entries()) {
      const name = ENCODER.encode(`${id} `);
      const bytes = new Uint8Array(name.length + 4);
      bytes.set(name);
      const view = new DataView(bytes.buffer);
      for (let i = 0; i < counts[node]!; i++) {
        view.setUint32(name.length, i, true);
        this.#points[at++] = xxh32Of(bytes, 0, bytes.length) * NODES_MAX + node;
      }
    }
    this.#points.sort();
  }

  /** How far each node's first point is from the shard's, as its place in the order: 0 for the nearest. */
  ranks(shard: number): Uint16Array {
    const known = this.#ranks.get(shard);
    if (known !== undefined) return known;
    const ranks = new Uint16Array(this.#nodes).fill(0xffff);
    const points = this.#points;
    let at = this.#after(shardPoint(shard) * NODES_MAX);
    for (let rank = 0; rank < this.#nodes; at++) {
      if (at >= points.length) at = 0;
      const node = points[at]! % NODES_MAX;
      if (ranks[node] === 0xffff) ranks[node] = rank++;
    }
    this.#ranks.set(shard, ranks);
    return ranks;
  }

  /** Which part of the circle belongs to each node, by its place: what lies between a point of it and the one before. */
  ownership(): Float64Array {
    const owned = new Float64Array(this.#nodes);
    const points = this.#points;
    for (let at = 0; at < points.length; at++) {
      const point = Math.floor(points[at]! / NODES_MAX);
      const before = at > 0 ? Math.floor(points[at - 1]! / NODES_MAX) : this.#last() - CIRCLE;
      owned[points[at]! % NODES_MAX]! += (point - before) / CIRCLE;
    }
    return owned;
  }

  #last(): number {
    return Math.floor(this.#points[this.#points.length - 1]! / NODES_MAX);
  }

  /** The place of the first point at or after `point`. */
  #after(point: number): number {
    let low = 0;
    let high = this.#points.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#points[middle]! < point) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function shardPoint(shard: number): number {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, shard, true);
  return xxh32Of(bytes, 0, 4, SHARD_SEED);
}
