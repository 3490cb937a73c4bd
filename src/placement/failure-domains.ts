/**
 * Which nodes are likely to fail together. A zone (a rack, a room, a data centre) has hosts, and a host has nodes. Of two
 * replica sets that one is better which has fewer pairs of members on one host, and of those with equally many the one
 * that has fewer pairs in one zone. Because the number of pairs grows faster than the number of members, fewest pairs
 * means that members are dealt out evenly: as many hosts, and then as many zones, as there can be.
 *
 * The pairs of a set are a convex function over a tree, so two simple ways lead to the optimum: adding the node that costs
 * least, one after the other, and exchanging one member for a better node until that is possible no more.
 */
import type { NodeId } from "../../protocol/ids.ts";

/** A node as the placement sees it. */
export interface RingNode {
  readonly id: NodeId;
  /** Where it shares a machine: nodes with the same `host` in the same `zone` fail together. */
  readonly host: string;
  readonly zone: string;
  /** Its capacity beside that of the others: with 2 it carries twice as much as a node with 1. Above 0. */
  readonly weight: number;
  /** It keeps what it has and gets nothing more, as nobody can bring it anything now. */
  readonly isClosed?: boolean;
}

/** More than the pairs in a zone can ever be worth. */
const HOST_PAIR = 1 << 20;

/** A node, a host or a zone, or all of them: who shares what with whom, as a tree whose leaves are nodes. */
export interface Domain {
  /** The node's place in the list that the tree was made of; `undefined` for what contains others. */
  readonly node: number | undefined;
  readonly parts: readonly Domain[];
  /** The places of all nodes within. */
  readonly nodes: readonly number[];
}

/** Nodes are known by their place in `nodes`. */
export class FailureDomains {
  readonly nodes: readonly RingNode[];
  readonly root: Domain;
  /** All nodes share equally much with each other: every set is as good as any other. */
  readonly isUniform: boolean;
  readonly #host: Int32Array;
  readonly #zone: Int32Array;

  constructor(nodes: readonly RingNode[]) {
    this.nodes = nodes;
    this.#host = new Int32Array(nodes.length);
    this.#zone = new Int32Array(nodes.length);
    const all = nodes.map((_, at) => at);
    let hosts = 0;
    const zones = grouped(all, (at) => nodes[at]!.zone).map((inZone, zone) => {
      const parts = grouped(inZone, (at) => nodes[at]!.host).map((onHost) => {
        for (const at of onHost) {
          this.#host[at] = hosts;
          this.#zone[at] = zone;
        }
        hosts++;
        return domainOf(onHost.map((at) => ({ node: at, parts: [], nodes: [at] })));
      });
      return domainOf(parts);
    });
    this.root = domainOf(zones);
    this.isUniform =
      hosts === 1 || (hosts === nodes.length && (zones.length === 1 || zones.length === hosts));
  }

  /** What it costs to have both `a` and `b` in one set: 0 if nothing but a disaster ends both. */
  pair(a: number, b: number): number {
    if (this.#host[a] === this.#host[b]) return HOST_PAIR + 1;
    return this.#zone[a] === this.#zone[b] ? 1 : 0;
  }

  /** What `node` adds to the cost of `set`, the member at `except` left out of account. */
  costWith(set: readonly number[], node: number, except = -1): number {
    let cost = 0;
    for (let at = 0; at < set.length; at++) if (at !== except) cost += this.pair(set[at]!, node);
    return cost;
  }

  /** Fewer is better. */
  costOf(set: readonly number[]): number {
    let cost = 0;
    for (let at = 1; at < set.length; at++) {
      for (let other = 0; other < at; other++) cost += this.pair(set[at]!, set[other]!);
    }
    return cost;
  }

  /**
   * A set of `size` nodes at the lowest cost. Of those it has as many members for which `favoured` says `true` as such a
   * set can have, and as few for which it says `false`.
   */
  bestSet(size: number, favoured?: (node: number) => boolean): number[] {
    const cost = new Float64Array(this.nodes.length);
    const set: number[] = [];
    while (set.length < size) {
      let best = -1;
      for (let node = 0; node < cost.length; node++) {
        if (best < 0 || cost[node]! < cost[best]!) best = node;
        else if (cost[node] === cost[best] && favoured?.(node) && !favoured(best)) best = node;
      }
      set.push(best);
      for (let node = 0; node < cost.length; node++) cost[node]! += this.pair(best, node);
      cost[best] = Number.POSITIVE_INFINITY;
    }
    return set;
  }
}

function domainOf(parts: readonly Domain[]): Domain {
  return { node: undefined, parts, nodes: parts.flatMap(({ nodes }) => nodes) };
}

/** `items` by `keyOf`, in the order in which the keys first occur. */
function grouped(items: readonly number[], keyOf: (item: number) => string): readonly number[][] {
  const groups = new Map<string, number[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return [...groups.values()];
}
